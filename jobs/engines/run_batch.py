"""vLLM's own `run-batch` over a file, with the settings of a server, and timed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MODULE = "vllm.entrypoints.openai.run_batch"
# What only a server knows, with the number of values of each.
_OF_THE_SERVER = {"--uds": 1, "--disable-uvicorn-access-log": 0}
# What it says once its engine is up; not every version says the first.
_READY = ("Reading batch from", "Running batch:")
# Its progress, as it says it every few seconds.
_PROGRESS = re.compile(r"Running batch:.*\| *(\d+)/\d+")


@dataclass(frozen=True, slots=True)
class Timed:
    """Times in seconds, from the start of the process and from the moment the engine was up.

    `progress` holds how many lines were answered when, counted from that moment.
    """

    start_to_file_s: float
    warm_to_file_s: float
    lines: int
    output_tokens: int
    progress: list[tuple[float, int]] = field(default_factory=list)


def as_run_batch(server: Sequence[str]) -> list[str]:
    """Return the command that has just the settings of a server's, less the two files."""
    at = server.index("vllm.entrypoints.openai.api_server")
    return [server[0], "-m", MODULE, *without(server[at + 1 :], _OF_THE_SERVER)]


def without(args: Sequence[str], options: Mapping[str, int]) -> list[str]:
    """Return `args` less some options, each with as many values as it takes."""
    left = iter(args)
    kept: list[str] = []
    for arg in left:
        name, equals, _ = arg.partition("=")
        if name not in options:
            kept.append(arg)
        elif not equals:
            for _ in range(options[name]):
                next(left)
    return kept


def run(command: Sequence[str], *, env: Mapping[str, str], answers: Path, log: Path) -> Timed:
    """Run it to its end; RuntimeError with the end of its log if it fails."""
    answers.unlink(missing_ok=True)
    started_at = time.time()
    ready_at = None
    progress = []
    with log.open("w") as kept:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                kept.write(line)
                if ready_at is None and any(words in line for words in _READY):
                    ready_at = time.time()
                if ready_at is not None and (found := _PROGRESS.search(line)):
                    progress.append((time.time() - ready_at, int(found[1])))
            process.wait()
        finally:
            # Its engine is a child of its own, and would outlive it where it is interrupted.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0 or ready_at is None or not answers.exists():
        said = log.read_text()[-12_000:]
        raise RuntimeError(f"run-batch ended with {process.returncode}:\n{said}")
    written_at = answers.stat().st_mtime
    lines, tokens = count(answers)
    return Timed(written_at - started_at, written_at - ready_at, lines, tokens, progress)


def count(answers: Path) -> tuple[int, int]:
    """Return how many answered lines a result file has, and their output tokens."""
    lines = tokens = 0
    with answers.open() as file:
        for text in file:
            response = json.loads(text)["response"]
            if response["status_code"] == 200:
                lines += 1
                tokens += response["body"]["usage"]["completion_tokens"]
    return lines, tokens
