"""Reading and rotating an engine's log: what it is doing, and why it failed."""

from __future__ import annotations

import re
from pathlib import Path

KEEP = 5
TAIL_BYTES = 64 * 1024

# What vLLM prints while it starts, and what that means to a person; the last one found counts.
_PHASES = (
    (re.compile(r"Resolved architecture"), "reading the model's configuration"),
    (re.compile(r"Initializing a V1 LLM engine"), "starting its core"),
    (re.compile(r"Starting to load model|Loading (?:safetensors|weights)"), "loading weights"),
    (re.compile(r"Loading safetensors checkpoint shards:\s+(\d+)% "), "loading weights, {0} %"),
    (re.compile(r"Loading weights took"), "weights loaded"),
    (re.compile(r"Compiling a graph|Dynamo bytecode transform|torch\.compile takes"), "compiling"),
    (re.compile(r"GPU KV cache size|CPU KV cache size|KV cache size:"), "making the KV cache"),
    (re.compile(r"Capturing (?:CUDA|cudagraph)"), "capturing CUDA graphs"),
    (re.compile(r"Warming up model"), "warming up"),
    (re.compile(r"Starting vLLM (?:API )?server|Route: |Supported tasks"), "opening its server"),
)
_ERROR = re.compile(r"(?:^|\s)((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Refused)): (.+)")
_NOT_THE_CAUSE = ("Engine core initialization failed", "See root cause above")


def rotate(path: Path) -> None:
    """Put the log of the last engine aside; the oldest of five goes."""
    for number in range(KEEP - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.rename(path.with_name(f"{path.name}.{number + 1}"))
    if path.exists():
        path.rename(path.with_name(f"{path.name}.1"))


def tail(path: Path, *, size: int = TAIL_BYTES) -> str:
    """Return the end of a log; empty where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - size))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def phase(text: str) -> str:
    """Return what a starting engine is doing, by the last line that says so."""
    found, at = "starting", -1
    for pattern, words in _PHASES:
        for match in list(pattern.finditer(text))[-1:]:
            if match.start() > at:
                found, at = words.format(*match.groups()), match.start()
    return found


def failure_reason(text: str) -> str:
    """Return the error that a log ends with, the root cause where vLLM names it above."""
    reasons = [
        f"{match.group(1).rpartition('.')[2]}: {match.group(2).strip()}"
        for match in map(_ERROR.search, text.splitlines())
        if match and not any(words in match.group(2) for words in _NOT_THE_CAUSE)
    ]
    if reasons:
        return reasons[-1][:1_000]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:1_000] if lines else "its log is empty"
