"""Make the pinned lists from the .in files: `make lock`.

Resolves with uv for every Python and machine that vbatch supports, then writes pip's format
with hashes, without index hosts. `python requirements/lock.py --upgrade` moves the pins;
without it they stay where they still fit.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import Marker, default_environment
from packaging.utils import canonicalize_name, parse_wheel_filename

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = (
    ("linux", "Linux", "x86_64"),
    ("linux", "Linux", "aarch64"),
    ("darwin", "Darwin", "arm64"),
    ("darwin", "Darwin", "x86_64"),
)
# The download that is announced before a set-up is the one of this machine.
REFERENCE = ("3.11", MACHINES[0])


@dataclass(frozen=True, kw_only=True)
class List:
    """One pinned list: `source` and `excludes` are .in files, `target` is what pip reads.

    `after` names lists whose pins it shares; `minus` lists that are installed before it and
    need not be repeated; `linux_only` drops the pins that only other systems need; with
    `no_deps` nothing but the wheels named in the source is listed.
    """

    source: str
    target: Path
    excludes: str | None = None
    after: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    linux_only: bool = False
    no_deps: bool = False


LISTS = (
    List(source="gpu.in", target=ROOT / "requirements.txt", linux_only=True),
    List(
        source="cpu.in",
        target=HERE / "cpu.txt",
        excludes="cpu-excludes.in",
        after=("gpu.in",),
        linux_only=True,
    ),
    List(source="base.in", target=HERE / "web.txt", after=("gpu.in", "cpu.in")),
    List(
        source="dev.in",
        target=HERE / "dev.txt",
        # trl asks for torch, which is there already, whichever build it is.
        excludes="cpu-excludes.in",
        after=("gpu.in", "cpu.in", "base.in"),
        minus=("base.in", "cpu.in"),
    ),
    List(source="models.in", target=HERE / "models.txt", no_deps=True),
)


@dataclass
class Pin:
    """One package of a list: its hashes and the bytes of the wheel that the reference takes."""

    name: str
    version: str
    marker: str
    hashes: list[str] = field(default_factory=list)
    size_bytes: int = 0

    def lines(self) -> str:
        head = f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")
        return " \\\n".join([head, *(f"    --hash=sha256:{digest}" for digest in self.hashes)])


def environments(*, linux_only: bool) -> Iterator[dict[str, str]]:
    """Yield the marker environment of every supported Python and machine."""
    for python in PYTHONS:
        for platform, system, machine in MACHINES:
            if linux_only and platform != "linux":
                continue
            yield {
                **{key: str(value) for key, value in default_environment().items()},
                "python_version": python,
                "python_full_version": f"{python}.9",
                "sys_platform": platform,
                "platform_system": system,
                "platform_machine": machine,
                "os_name": "posix",
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
            }


def wanted_wheel(filename: str) -> bool:
    """Say whether a supported Python on a supported machine may install this wheel."""
    for tag in parse_wheel_filename(filename)[3]:
        interpreter_fits = tag.interpreter.startswith("py") or tag.abi == "abi3"
        if not interpreter_fits:
            versions = {"cp" + python.replace(".", "") for python in PYTHONS}
            interpreter_fits = tag.interpreter in versions and tag.abi == tag.interpreter
        if tag.interpreter == "py2" or not interpreter_fits:
            continue
        if tag.platform == "any":
            return True
        if tag.platform.startswith(("manylinux", "linux", "macosx")) and tag.platform.endswith(
            ("x86_64", "aarch64", "arm64", "universal2")
        ):
            return True
    return False


def reference_size_bytes(wheels: Iterable[dict[str, Any]]) -> int:
    """Return the size of the wheel that the reference machine takes."""
    python, (_, _, machine) = REFERENCE
    version = "cp" + python.replace(".", "")
    fitting = []
    for wheel in wheels:
        for tag in parse_wheel_filename(_filename(wheel))[3]:
            right_python = tag.interpreter == version or tag.abi in ("abi3", "none")
            right_machine = tag.platform == "any" or (
                "linux" in tag.platform and tag.platform.endswith(machine)
            )
            if right_python and right_machine and "musl" not in tag.platform:
                fitting.append(int(wheel["size"]))
    return max(fitting, default=0)


def _filename(wheel: dict[str, Any]) -> str:
    return str(wheel.get("name") or wheel["url"].rsplit("/", 1)[1]).replace("%2B", "+")


def read_pins(lock: dict[str, Any], *, linux_only: bool) -> list[Pin]:
    """Turn uv's lock into pins, without what no supported machine installs."""
    pins = []
    all_environments = list(environments(linux_only=linux_only))
    reference = all_environments[0]
    for package in lock["packages"]:
        marker = str(package.get("marker", ""))
        applies = [e for e in all_environments if not marker or Marker(marker).evaluate(e)]
        if not applies:
            continue
        wheels = [w for w in package.get("wheels", []) if wanted_wheel(_filename(w))]
        if not wheels:
            raise SystemExit(f"{package['name']} {package['version']} has no wheel to install.")
        in_reference = reference in applies
        pins.append(
            Pin(
                name=package["name"],
                version=package["version"],
                # A marker that is true on every supported machine says nothing.
                marker="" if len(applies) == len(all_environments) else marker,
                hashes=sorted({str(wheel["hashes"]["sha256"]) for wheel in wheels}),
                size_bytes=reference_size_bytes(wheels) if in_reference else 0,
            )
        )
    return pins


def compile_list(item: List, *, known: dict[str, list[Pin]], upgrade: bool) -> list[Pin]:
    """Resolve one list with uv; the pins of `item.after` and, if any, the old ones hold."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise SystemExit("uv is missing: run `make lock`, which installs the development list.")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "pylock.toml"
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_constraints(item, known=known, upgrade=upgrade)) + "\n")
        command = [
            *(uv, "pip", "compile", "--quiet", "--universal", "--no-config"),
            *("--python-version", PYTHONS[0], "--format", "pylock.toml"),
            *("--output-file", str(output), "--constraints", str(constraints)),
        ]
        if item.excludes:
            command += ["--excludes", str(HERE / item.excludes)]
        if item.no_deps:
            command.append("--no-deps")
        result = subprocess.run([*command, str(HERE / item.source)], check=False)
        if result.returncode:
            raise SystemExit(f"uv found no set of versions for {item.source}: see above.")
        return read_pins(tomllib.loads(output.read_text()), linux_only=item.linux_only)


def _constraints(item: List, *, known: dict[str, list[Pin]], upgrade: bool) -> Iterator[str]:
    seen = set()
    for source in item.after:
        for pin in known[source]:
            seen.add(pin.name)
            yield f"{pin.name}=={pin.version}" + (f" ; {pin.marker}" if pin.marker else "")
    if not upgrade and item.target.exists():
        for line in item.target.read_text().splitlines():
            name = canonicalize_name(line.partition("==")[0].strip())
            if line and line[0] not in "# -" and name not in seen:
                yield line.removesuffix("\\").strip()


def write_list(item: List, pins: list[Pin], *, known: dict[str, list[Pin]]) -> None:
    """Write `pins` to the target in pip's format, with the size of the download on top."""
    before = {(pin.name, pin.version) for source in item.minus for pin in known[source]}
    kept = [pin for pin in pins if (pin.name, pin.version) not in before]
    download_mb = round(sum(pin.size_bytes for pin in kept) / 1e6)
    text = [
        f"# Made by `make lock` from requirements/{item.source}: change that file, not this one.",
        f"# Download on Linux x86_64: {download_mb} MB",
        *(pin.lines() for pin in kept),
    ]
    item.target.write_text("\n".join(text) + "\n")
    print(f"{item.target.relative_to(ROOT)}: {len(kept)} packages, {download_mb} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the pinned lists.")
    parser.add_argument("--upgrade", action="store_true", help="move to the newest versions")
    arguments = parser.parse_args()
    known: dict[str, list[Pin]] = {}
    for item in LISTS:
        known[item.source] = compile_list(item, known=known, upgrade=arguments.upgrade)
        write_list(item, known[item.source], known=known)


if __name__ == "__main__":
    main()
