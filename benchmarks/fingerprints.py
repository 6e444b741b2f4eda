"""On what a run was measured, as people read it: hardware, and what may have changed its speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# What may differ between runs that are compared: it is what one wants to know the effect of.
MARKS = {
    "vbatch": "vbatch",
    "vllm": "vLLM",
    "driver": "GPU driver",
    "engine_args": "engine arguments",
    "revision": "model revision",
    "source": "model source",
}


class Difference(NamedTuple):
    """Something in which two runs differ, as people name it."""

    name: str
    title: str
    before: str
    after: str


def gpus_of(fingerprint: Mapping[str, Any]) -> str:
    """Return the GPUs by kind: 2 × NVIDIA H100 80GB HBM3."""
    names = [gpu["name"] for gpu in fingerprint.get("gpus", [])]
    counts = {name: names.count(name) for name in sorted(names)}
    return ", ".join(f"{count} × {name}" for name, count in counts.items()) or "no GPU"


def processor_of(fingerprint: Mapping[str, Any]) -> str:
    # With GPUs the processor hardly matters, and hosts of one kind differ in it.
    if fingerprint.get("gpus"):
        return "any"
    return f"{fingerprint.get('cpu') or 'not known'}, {fingerprint.get('cores') or '?'} cores"


def hardware_of(fingerprint: Mapping[str, Any]) -> str:
    """Return what the work was done on, the GPUs or else the processor; empty if not known."""
    if fingerprint.get("gpus"):
        return gpus_of(fingerprint)
    return processor_of(fingerprint) if fingerprint.get("cpu") else ""


def drivers_of(fingerprint: Mapping[str, Any]) -> str:
    return ", ".join(sorted({gpu.get("driver") or "" for gpu in fingerprint.get("gpus", [])}))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return what differs in two fingerprints and may well be the cause of another speed."""
    found = []
    for name, title in MARKS.items():
        old, new = _mark(before, name), _mark(after, name)
        if old != new:
            found.append(Difference(name, title, old or "not known", new or "not known"))
    return found


def _mark(fingerprint: Mapping[str, Any], name: str) -> str:
    return drivers_of(fingerprint) if name == "driver" else str(fingerprint.get(name) or "")
