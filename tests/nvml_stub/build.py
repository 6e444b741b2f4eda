"""Compiling the stand-in for NVIDIA's library, which no test machine needs to have."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml_stub.c")
HOW_TO = "The tests of GPU readings need a C compiler. Debian: apt-get install gcc libc6-dev"


def build_library(folder: Path) -> Path:
    """Compile the library into `folder`, under the name by which pynvml asks for it."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    assert compiler is not None, HOW_TO
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-o", folder / "libnvidia-ml.so.1", SOURCE],
        check=True,
    )
    return folder
