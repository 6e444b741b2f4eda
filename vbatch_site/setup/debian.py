"""Programs of Debian that tests need: find them on this machine, or install them."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vbatch_site.setup.commands import Runner

# Programs that are unpacked and not installed: nothing of theirs is started, no account made.
UNPACKED = Path("/usr/local/lib/vbatch-tools")
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of Debian, what its programs are called, and how to get them elsewhere.

    Of one that is `unpacked`, the programs must need no other package.
    """

    name: str
    title: str
    download_mb: int
    programs: tuple[tuple[str, ...], ...]
    unpacked: bool = False
    how_to: str

    @property
    def is_there(self) -> bool:
        return all(_find(names) for names in self.programs)


CHROMIUM = Package(
    name="chromium",
    title="Chromium",
    download_mb=100,
    programs=(_CHROMIUM,),
    how_to="The browser tests need Chromium. Debian: apt-get install chromium; Fedora: dnf install "
    "chromium; Ubuntu: snap install chromium; macOS: Google Chrome will do.",
)
PROMETHEUS = Package(
    name="prometheus",
    title="Prometheus",
    download_mb=20,
    programs=(("prometheus",), ("promtool",)),
    # Installed it would listen on port 9090 from then on.
    unpacked=True,
    how_to="The tests of metrics and alerts need prometheus and promtool. Debian, Ubuntu: apt-get "
    "install prometheus (this starts a service); macOS: brew install prometheus.",
)
PACKAGES = (CHROMIUM, PROMETHEUS)


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome on this machine, None without one."""
    return _find(_CHROMIUM)


def find_prometheus() -> str | None:
    return _find(("prometheus",))


def find_promtool() -> str | None:
    return _find(("promtool",))


def missing() -> list[Package]:
    return [package for package in PACKAGES if not package.is_there]


def can_install() -> bool:
    """Say whether we may install packages: Debian itself (Ubuntu's Chromium is an empty one)."""
    release = Path("/etc/os-release")
    is_debian = release.is_file() and "\nID=debian" in "\n" + release.read_text()
    return (
        platform.system() == "Linux"
        and is_debian
        and os.geteuid() == 0
        and shutil.which("apt-get") is not None
    )


def read_lists(runner: Runner) -> None:
    runner.run("Reading Debian's package lists", ["apt-get", "update"], environ=_QUIET)


def install(package: Package, *, runner: Runner) -> None:
    if package.unpacked:
        _unpack(package, runner=runner)
        return
    runner.run(
        f"Installing {package.title}",
        ["apt-get", "install", "--yes", "--no-install-recommends", package.name],
        environ=_QUIET,
    )


def _unpack(package: Package, *, runner: Runner) -> None:
    """Download the package, whose signature apt checks, and move its files into their place."""
    target = UNPACKED / package.name
    UNPACKED.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{package.name}-", dir=UNPACKED))
    try:
        runner.run(
            f"Downloading {package.title}",
            # apt downloads to where it is started.
            ["sh", "-c", 'cd "$1" && apt-get download "$2"', "sh", folder, package.name],
            environ=_QUIET,
        )
        (archive,) = folder.glob("*.deb")
        runner.run(f"Unpacking {package.title}", ["dpkg", "-x", archive, folder / "files"])
        (folder / "files").chmod(0o755)
        # Only whole: a killed set-up leaves a folder with another name.
        shutil.rmtree(target, ignore_errors=True)
        (folder / "files").rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find(names: tuple[str, ...]) -> str | None:
    found = [shutil.which(name) for name in names]
    unpacked = [str(path) for name in names for path in UNPACKED.glob(f"*/usr/bin/{name}")]
    mac = [path for path in _MAC if names is _CHROMIUM and Path(path).exists()]
    return next((path for path in (*found, *unpacked, *mac) if path), None)
