"""The processor of this host: what it calls itself, and what it can compute."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# The widest of these that it has, in the order in which they are better at a model's work.
_SETS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 BF16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
# Any of these, and kernels for bfloat16 exist (oneDNN's instruction sets: AVX-512, AVX2-VNNI-2).
_BFLOAT16 = {"amx_bf16", "avx512_bf16", "avx512f", "avx_ne_convert"}


@functools.cache
def cpu_name() -> str:
    """Return what the processor calls itself, with its instructions where it says them.

    Virtual machines often tell no more than the maker, although one computes a model several
    times as fast as the other.
    """
    named = _field("model name") or platform.machine()
    known = _flags()
    best = next((words for flag, words in _SETS.items() if flag in known), "")
    return f"{named}, {best}" if best else named


@functools.cache
def computes_bfloat16() -> bool:
    """Say whether the processor has instructions for bfloat16; True where it does not say."""
    known = _flags()
    return not known or bool(known & _BFLOAT16)


def _flags() -> set[str]:
    return set(_field("flags").split())


def _field(name: str) -> str:
    """Return what the kernel says of the first core; empty if nothing."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    found = next((line for line in lines if line.partition(":")[0].strip() == name), "")
    return " ".join(found.partition(":")[2].split())
