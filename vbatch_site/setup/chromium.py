"""Chromium for the browser tests: find it, or install Debian's."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from vbatch_site.setup.commands import Runner

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
HOW_TO = (
    "The browser tests need Chromium. Debian: apt-get install chromium; Fedora: dnf install "
    "chromium; Ubuntu: snap install chromium; macOS: Google Chrome will do."
)


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome on this machine, None without one."""
    found = (shutil.which(name) for name in _NAMES)
    installed = (path for path in _MAC if Path(path).exists())
    return next((path for path in (*found, *installed) if path), None)


def can_install() -> bool:
    """Say whether we may install packages: Debian itself (Ubuntu's package is an empty one)."""
    release = Path("/etc/os-release")
    is_debian = release.is_file() and "\nID=debian" in "\n" + release.read_text()
    return (
        platform.system() == "Linux"
        and is_debian
        and os.geteuid() == 0
        and shutil.which("apt-get") is not None
    )


def install_chromium(runner: Runner) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    runner.run("Reading Debian's package lists", ["apt-get", "update"], environ=quiet)
    runner.run(
        "Installing Chromium",
        ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"],
        environ=quiet,
    )
