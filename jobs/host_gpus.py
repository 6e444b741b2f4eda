"""Which GPUs of this host the worker may use: all of them, or what CUDA_VISIBLE_DEVICES leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import structlog
from django.conf import settings

log = structlog.get_logger()

_LIST = """
import json
from jobs.nvml import read_gpus
print(json.dumps([gpu.get("uuid", "") for gpu in read_gpus()]))
"""
NVML_PATIENCE_S = 20


class GpusUnknown(Exception):
    """It cannot be told which GPUs may be used; the message says what to do."""


def read_uuids() -> list[str]:
    """Return the ids of the GPUs in the driver's order, asked in a process of its own, since NVML
    may hang; none without a driver.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _LIST],
            capture_output=True,
            text=True,
            timeout=NVML_PATIENCE_S,
            cwd=settings.BASE_DIR,
        )
    except subprocess.TimeoutExpired as error:
        raise GpusUnknown(
            "The NVIDIA driver does not answer. `nvidia-smi` should; or name the GPUs by --gpus, "
            "or use --no-gpu."
        ) from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        log.info("no_gpu_used", reason=said[-1][:300] if said else f"status {done.returncode}")
        return []
    found: list[str] = json.loads(done.stdout)
    return found


def left_visible(uuids: Sequence[str], visible: str | None) -> list[int]:
    """Return the indices that a value of CUDA_VISIBLE_DEVICES leaves; all if it is not set.

    It lists indices, or ids that may be cut short; empty or -1 leaves none. On a shared machine
    it is how a scheduler says which GPUs are ours, and the driver itself does not heed it.
    """
    if visible is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for word in filter(None, (part.strip() for part in visible.split(","))):
        if word == "-1":
            break
        index = int(word) if word.isdecimal() else _of_uuid(uuids, word)
        if index is None or index >= len(uuids):
            raise GpusUnknown(
                f"CUDA_VISIBLE_DEVICES names '{word}', which is none of the {len(uuids)} GPUs "
                "here. Name the GPUs by --gpus, or use --no-gpu."
            )
        found.append(index)
    return found


def _of_uuid(uuids: Sequence[str], start: str) -> int | None:
    found = [index for index, uuid in enumerate(uuids) if uuid.startswith(start)]
    return found[0] if len(found) == 1 else None
