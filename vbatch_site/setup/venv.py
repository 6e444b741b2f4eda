"""The virtual environment: make it, mend it after a killed run, fill it from pinned lists."""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from vbatch_site.setup.commands import LineSeen, Runner
from vbatch_site.setup.lists import PinnedList, Stamp
from vbatch_site.setup.problems import NETWORK, NOT_FOUND, SetupError
from vbatch_site.setup.screen import Progress

# pip must not think: every file is named by the list, and nothing is compiled on the way.
INSTALL = ("-m", "pip", "install", "--no-deps", "--only-binary", ":all:")
QUIET = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")


def python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def base_python() -> str:
    """Return what a virtual environment depends on: this Python's version and its place."""
    return f"{'.'.join(map(str, sys.version_info[:3]))} {os.path.realpath(sys.executable)}"


def check_venv_module() -> None:
    """Raise when this Python cannot make virtual environments (Debian splits that off)."""
    try:
        import ensurepip
        import venv
    except ImportError as error:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetupError(
            f"This Python ({sys.executable}) cannot make virtual environments: {error}.",
            f"Debian, Ubuntu: apt-get install python{version}-venv. Then run again.",
        ) from error
    del ensurepip, venv


def is_current(venv: Path, stamp: Stamp | None) -> bool:
    """Say whether the stamped environment still works: same Python, same place."""
    return (
        stamp is not None
        and stamp.python == base_python()
        and stamp.venv == str(venv)
        and os.access(python_of(venv), os.X_OK)
    )


def must_rebuild(venv: Path, stamp: Stamp | None, *, engine: str) -> str:
    """Return why the environment must be made anew, "" if it can be kept."""
    if not venv.exists():
        return ""
    if not (venv / "pyvenv.cfg").is_file():
        if any(venv.iterdir()) and not (venv / "bin").is_dir():
            raise SetupError(
                f"{venv} is in the way: it is no virtual environment.",
                "Move it elsewhere and run again.",
            )
        return "it is not complete"
    if not os.access(python_of(venv), os.X_OK) or not _has_pip(venv):
        return "it is not complete"
    if stamp is None:
        version = (venv / "pyvenv.cfg").read_text()
        found = re.search(r"^version\s*=\s*(\d+\.\d+\.\d+)", version, re.MULTILINE)
        mine = ".".join(map(str, sys.version_info[:3]))
        return "" if found and found.group(1) == mine else "it is of another Python"
    if stamp.engine != engine:
        # Both builds of vLLM write the same files: one cannot be put over the other.
        return f"it has the engine {stamp.engine}, {engine} is wanted"
    if not is_current(venv, stamp):
        return "its Python is another one, or it was moved"
    return ""


def _has_pip(venv: Path) -> bool:
    """Say whether pip is all there: a run may have been killed while pip itself was unpacked."""
    return any(
        _is_whole(folder, metadata)
        for folder in site_packages(venv)
        for metadata in folder.glob("pip-*.dist-info")
    )


def site_packages(venv: Path) -> list[Path]:
    return sorted(venv.glob("lib/python3.*/site-packages"))


def make_venv(venv: Path, *, runner: Runner) -> None:
    if venv.exists():
        shutil.rmtree(venv)
    runner.run("Making the virtual environment", [sys.executable, "-m", "venv", venv])


def remove_half_installed(venv: Path) -> list[str]:
    """Remove the records of packages whose files are not all there; return their names.

    pip takes a package for installed once its folder of metadata exists. A run that was
    killed leaves some of which that is all, and a lost disk cache some with short files.
    """
    removed = []
    for folder in site_packages(venv):
        for leftover in folder.glob("~*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        for metadata in folder.glob("*.dist-info"):
            if not _is_whole(folder, metadata):
                shutil.rmtree(metadata)
                removed.append(metadata.name.removesuffix(".dist-info"))
    return sorted(removed)


def _is_whole(folder: Path, metadata: Path) -> bool:
    try:
        with (metadata / "RECORD").open(newline="") as record:
            for path, _digest, size in csv.reader(record):
                # Compiled files are made again by themselves, and their size may vary.
                is_checked = size and not path.endswith(".pyc")
                if is_checked and os.stat(folder / path).st_size != int(size):
                    return False
    except (FileNotFoundError, ValueError):
        return False
    return True


def remove_packages(venv: Path, names: Iterable[str], *, runner: Runner) -> None:
    """Uninstall what an older list put there and the present lists no longer have."""
    runner.run(
        "Removing packages that are no longer needed",
        [python_of(venv), "-m", "pip", "uninstall", "--yes", "--quiet", *names],
    )


def install_list(
    venv: Path,
    item: PinnedList,
    *,
    runner: Runner,
    folder: Path,
    progress: Progress,
    options: tuple[str, ...] = (),
) -> None:
    """Install one pinned list; `folder` is for passing files."""
    path = item.path
    if item.without:
        path = folder / f"{item.name}.txt"
        path.write_text("".join(item.pins().values()))
    runner.run(
        f"Installing {item.title}",
        [python_of(venv), *INSTALL, *QUIET, *options, "-r", path],
        on_line=_pip_progress(venv, len(item.pins()), progress),
    )


def install_torch_cpu(
    venv: Path,
    item: PinnedList,
    *,
    runner: Runner,
    folder: Path,
    fallback_index: str,
    progress: Progress,
) -> None:
    """Install torch's CPU build from the configured index, else from `fallback_index`."""
    try:
        install_list(venv, item, runner=runner, folder=folder, progress=progress)
    except SetupError as error:
        if error.kind not in (NOT_FOUND, NETWORK):
            raise
    else:
        return
    progress("not on the configured index, asking PyTorch's own")
    try:
        install_list(
            venv,
            item,
            runner=runner,
            folder=folder,
            progress=progress,
            options=("--index-url", fallback_index),
        )
    except SetupError as error:
        raise SetupError(
            "torch's CPU build was found neither on the configured package index nor on "
            f"{fallback_index}.",
            "Check the network. Where that index cannot be reached, put the wheel into a folder "
            "and set PIP_FIND_LINKS to it, or name a mirror in VBATCH_TORCH_CPU_INDEX; then run "
            "again.",
            kind=error.kind,
            tail=error.tail,
        ) from error


def _pip_progress(venv: Path, total: int, progress: Progress) -> LineSeen:
    """Read pip's lines and tell how many of `total` packages are fetched, then unpacked."""
    seen = 0
    fetched_mb = 0.0
    is_fetched = False
    # What was there before is not counted as unpacked.
    before = _package_count(venv)

    def on_line(line: str) -> None:
        nonlocal seen, fetched_mb, is_fetched
        if line.startswith("Installing collected packages"):
            is_fetched = True
            progress(lambda: f"{_package_count(venv) - before} of {total} packages unpacked")
        if is_fetched:
            return
        if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied")):
            seen += 1
        found = re.match(r"\s*Downloading \S+ \(([\d.]+) ([kMG]B)\)", line)
        if found:
            fetched_mb += float(found.group(1)) * {"kB": 1e-3, "MB": 1, "GB": 1e3}[found.group(2)]
        progress(f"{min(seen, total)} of {total} packages, {fetched_mb:.0f} MB fetched")

    return on_line


def _package_count(venv: Path) -> int:
    return sum(len(list(folder.glob("*.dist-info"))) for folder in site_packages(venv))
