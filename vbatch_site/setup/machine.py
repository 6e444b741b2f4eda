"""What this machine is: which engine fits it, and how much disk it has left."""

from __future__ import annotations

import ctypes
import enum
import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vbatch_site.setup.problems import SetupError

# The CUDA 13 of the pinned PyTorch needs this driver.
MIN_DRIVER = 580


class Engine(enum.Enum):
    """Which build of vLLM the virtual environment gets."""

    GPU = "gpu"
    CPU = "cpu"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An engine, why it was taken, and what may be wrong with it."""

    engine: Engine
    reason: str
    warning: str = ""


def read_environment(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment over the values of `root`/.env, as the settings see them."""
    values: dict[str, str] = {}
    env_file = root / ".env"
    if env_file.is_file():
        for line in env_file.read_text().splitlines():
            found = re.match(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*$", line)
            if found:
                values[found.group(1)] = found.group(2).strip("\"'")
    return {**values, **environ}


def choose_engine(environ: Mapping[str, str]) -> Choice:
    """Pick the build of vLLM: by setting, else GPU where there is an NVIDIA driver, else CPU."""
    wanted = environ.get("VBATCH_ENGINE_BUILD", "").strip().lower() or "auto"
    if wanted not in ("auto", *(engine.value for engine in Engine)):
        raise SetupError(f"VBATCH_ENGINE_BUILD is {wanted!r}.", "Set it to auto, gpu, cpu or none.")
    if environ.get("VBATCH_ENGINE_PYTHON"):
        return Choice(engine=Engine.NONE, reason="VBATCH_ENGINE_PYTHON names an engine")
    if wanted != "auto":
        return Choice(engine=Engine(wanted), reason="VBATCH_ENGINE_BUILD says so")
    if platform.system() != "Linux":
        return Choice(
            engine=Engine.NONE,
            reason=f"vLLM does not run on {platform.system()}: web and upstream models only",
        )
    driver = find_nvidia_driver()
    if driver is None:
        return Choice(engine=Engine.CPU, reason="no NVIDIA driver was found")
    major = int(driver.split(".")[0]) if driver[:1].isdigit() else MIN_DRIVER
    warning = ""
    if major < MIN_DRIVER:
        warning = (
            f"The NVIDIA driver is {driver}; the pinned vLLM needs {MIN_DRIVER} or newer. "
            "Update it, or set VBATCH_ENGINE_PYTHON to an environment that fits the driver."
        )
    return Choice(engine=Engine.GPU, reason=f"NVIDIA driver {driver}", warning=warning)


def find_nvidia_driver() -> str | None:
    """Return the version of the NVIDIA driver, "present" if it hides it, None without one.

    Looks only at what is there: NVML itself may hang for minutes on a sick GPU.
    """
    version = Path("/proc/driver/nvidia/version")
    if version.is_file():
        found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", version.read_text())
        return found.group(1) if found else "present"
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return "present" if shutil.which("nvidia-smi") else None
    return "present"


def check_disk(folder: Path, *, needed_mb: int) -> None:
    """Raise when the disk under `folder` has less than `needed_mb` free."""
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < needed_mb:
        raise SetupError(
            f"The disk under {folder} has {free_mb / 1000:.1f} GB free, "
            f"{needed_mb / 1000:.1f} GB are needed.",
            "Free some space and run again.",
            kind="disk",
        )


def check_writable(folder: Path) -> None:
    """Raise when this account may not write into `folder`."""
    if not os.access(folder, os.W_OK):
        raise SetupError(
            f"{folder} may not be written by this account.",
            "Run as the owner of the folder, or clone the project into one of your own.",
            kind="permission",
        )
