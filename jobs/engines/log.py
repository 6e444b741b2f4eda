"""Reading and rotating an engine's log: what it is doing, and why it failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

KEEP = 5
TAIL_BYTES = 64 * 1024

# What vLLM prints while it starts, and what that means to a person; the last one found counts.
_PHASES = (
    (re.compile(r"Resolved architecture"), "reading the model's configuration"),
    (re.compile(r"Initializing a V1 LLM engine"), "starting its core"),
    (re.compile(r"(?:Starting to load|Loading) (?:safetensors|weights|model)"), "loading weights"),
    (re.compile(r"Loading safetensors checkpoint shards:\s+(\d+)% "), "loading weights, {0} %"),
    (re.compile(r"Loading weights took|Model loading took"), "weights loaded"),
    (re.compile(r"Compiling a graph|Dynamo bytecode transform|torch\.compile took"), "compiling"),
    (re.compile(r"GPU KV cache size|CPU KV cache size|KV cache size:"), "making the KV cache"),
    (re.compile(r"Capturing (?:CUDA|cudagraph)"), "capturing CUDA graphs"),
    (re.compile(r"Warming up model|Graph capturing finished"), "warming up"),
    (re.compile(r"Starting vLLM (?:API )?server|Route: |Supported tasks"), "opening its server"),
)
_ERROR = re.compile(r"(?:^|\s)((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Refused)): (.+)")
# What vLLM's outer processes say of the inner one that failed: the cause stands above it.
_NOT_THE_CAUSE = (
    "Engine core initialization failed",
    "EngineCore encountered an issue",
    "Worker failed with error",
)
# Pydantic counts the faults on one line and names each below it, indented.
_COUNT_OF_FAULTS = re.compile(r"\d+ validation errors? for (\w+)")
_PREFIX = re.compile(r"^\(\w+ pid=\d+\) (?:ERROR \S+ \S+ \[[^]]+\] ?)?")
_END_OF_FAULT = re.compile(r" ?\[type=\w+, input_value=")


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
            # Of two at one place the later pattern counts, which says more.
            if match.start() >= at:
                found, at = words.format(*match.groups()), match.start()
    return found


def failure_reason(text: str) -> str:
    """Return the error that a log ends with, the root cause where vLLM names it above."""
    lines = [_PREFIX.sub("", line) for line in text.splitlines()]
    causes: list[str] = []
    others: list[str] = []
    for number, line in enumerate(lines):
        match = _ERROR.search(line)
        if match is None:
            continue
        message = match.group(2).strip()
        if faults := _COUNT_OF_FAULTS.fullmatch(message):
            message = f"{faults.group(1)}: {_first_fault(lines[number + 1 :]) or message}"
        reason = f"{match.group(1).rpartition('.')[2]}: {message}"[:1_000]
        is_cause = not any(words in message for words in _NOT_THE_CAUSE)
        (causes if is_cause else others).append(reason)
    if causes or others:
        return (causes or others)[-1]
    told = [line.strip() for line in lines if line.strip()]
    return told[-1][:1_000] if told else "its log is empty"


def _first_fault(lines: Sequence[str]) -> str:
    """Return what pydantic says of the first fault, on one line."""
    told: list[str] = []
    for line in lines[:20]:
        text, *end = _END_OF_FAULT.split(line, maxsplit=1)
        told.append(text.strip())
        if end:
            break
    return " ".join(words for words in told if words).removeprefix("Value error, ")
