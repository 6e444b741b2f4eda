"""What the figures were measured on: day, machine, versions, and the engine as it was started."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from jobs.cpu import cpu_name
from tests.stack import Stack
from tests.stack.product import ROOT
from vbatch_site.version import VERSION


def describe() -> dict[str, Any]:
    """Return what is known without a product."""
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_name(),
        "memory_gib": psutil.virtual_memory().total / 1024**3,
        "load_at_start": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "vbatch": VERSION,
        "commit": _commit(),
        "gpus": [],
    }


def describe_engine(stack: Stack, *, model: Path) -> dict[str, Any]:
    """Return the versions, GPUs and engine of a product whose engine is loaded."""
    gpus = stack.sql("SELECT name, driver, memory_total_bytes FROM jobs_gpu ORDER BY index")
    query = "SELECT engine_version FROM jobs_lane WHERE engine_state = 'ready'"
    engine = stack.find("engine")[0]
    return {
        "gpus": [
            {"name": name, "driver": driver, "memory_bytes": size} for name, driver, size in gpus
        ],
        "postgresql": stack.sql("SHOW server_version")[0][0],
        "vllm": stack.sql(query)[0][0],
        "model": model.name,
        "engine_args": engine.args[1:],
        "engine_env": {
            key: value
            for key, value in sorted(engine.environ.items())
            if key.startswith(("VLLM_", "OMP_", "KMP_", "CUDA_", "TORCH")) or key == "LD_PRELOAD"
        },
    }


def _commit() -> str:
    """Return the commit of the checkout, with a mark if files differ from it; empty if unknown."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
