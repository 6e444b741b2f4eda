"""What the lockfile asks for: packages, the files taken from them, and the icons in use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
LOCKFILE = Path(__file__).with_name("kit.lock.json")
VENDOR = ROOT / "static" / "vendor"
SPRITE = ROOT / "templates" / "_parts" / "icons.svg"


class Taken(NamedTuple):
    """A file taken out of a package; `sha256` is that of the file as it lies in our tree."""

    source: str
    target: str
    sha256: str


class Package(NamedTuple):
    """A package of the npm registry; `integrity` is the registry's own checksum (SRI)."""

    name: str
    version: str
    integrity: str
    folder: str
    copyright: list[str]
    files: list[Taken]
    icons: list[str]

    @property
    def target(self) -> Path:
        return VENDOR / f"{self.folder}-{self.version}"


def read_lock(path: Path = LOCKFILE) -> list[Package]:
    packages = json.loads(path.read_text(encoding="utf-8"))["packages"]
    return [
        Package(
            name=p["name"],
            version=p["version"],
            integrity=p["integrity"],
            folder=p["folder"],
            copyright=p["copyright"],
            files=[Taken(**taken) for taken in p.get("files", [])],
            icons=p.get("icons", []),
        )
        for p in packages
    ]
