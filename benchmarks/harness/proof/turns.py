"""Who has the machine: the product with a warm engine, or `run-batch` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.proof import theirs
from benchmarks.harness.proof.ours import Ran, answer, warm_up
from benchmarks.harness.proof.prompts import chat_lines, write
from jobs.engines.run_batch import Timed
from tests.stack import Process, Stack

COMPILING_LINES = 8


class Turns:
    """Lets both run one after the other, neither beside the other's engine.

    While `run-batch` has its turn the product's worker is stopped, so that on a GPU each may
    take the whole memory; the worker is started and its engine warmed again before ours.
    """

    def __init__(
        self, stack: Stack, *, model: str, source: Path, engine_args: Sequence[str], load_s: float
    ) -> None:
        self.stack = stack
        self.model = model
        self.loads_s: list[float] = []
        self._timeout_s = load_s
        self._start()
        self.engine: Process = stack.find("engine")[0]
        self._starts = {
            "identical": theirs.identical(self.engine),
            "installed": theirs.as_installed(
                self.engine, model=model, source=source, engine_args=engine_args
            ),
        }

    def ours(self, path: Path, **order: Any) -> Ran:
        """Run a batch on the warm engine."""
        self.warm()
        return answer(self.stack, path, **order)

    def warm(self) -> None:
        """Have the product's engine loaded."""
        if not self.stack.is_running("worker"):
            self._start()

    def theirs(self, kind: str, path: Path) -> Timed:
        """Run the file with `run-batch` of a kind: `identical` or `installed`."""
        if self.stack.is_running("worker"):
            self.stack.stop_process("worker")
        return self._starts[kind].run(path)

    def compile(self, kind: str) -> None:
        """Run a few lines: what it compiles is on the disk from then on, as ours is."""
        lines = chat_lines(COMPILING_LINES, model=self.model, seed=kind, max_tokens=8)
        self.theirs(kind, write(self.stack.folder / f"compiling-{kind}.jsonl", lines))

    def command(self, kind: str) -> list[str]:
        """Return how `run-batch` is started."""
        return list(self._starts[kind].command)

    def _start(self) -> None:
        if not self.stack.is_running("worker"):
            self.stack.start_worker()
        self.loads_s.append(warm_up(self.stack, model=self.model, timeout_s=self._timeout_s))
