"""vLLM's `run-batch` over the same file, as the product's engine is started, and as installed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.engines import run_batch
from jobs.engines.run_batch import Timed
from tests.stack import Process

# What chooses the GPU stays in the environment of either; and the size of a CPU's cache, since by
# default vLLM does not start on a CPU unless nine tenths of all memory are free.
_KEPT = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HF_HUB_OFFLINE", "VLLM_CPU_KVCACHE_SPACE")


@dataclass(frozen=True)
class Start:
    """How `run-batch` is started; `-i` and `-o` are still to come."""

    command: Sequence[str]
    env: Mapping[str, str]

    def run(self, path: Path) -> Timed:
        """Answer a batch file; RuntimeError if it cannot."""
        answers = path.with_suffix(".theirs")
        return run_batch.run(
            [*self.command, "-i", str(path), "-o", str(answers)],
            env=self.env,
            answers=answers,
            log=path.with_suffix(".log"),
        )


def identical(engine: Process) -> Start:
    """Return the start with the settings and the environment of a running engine."""
    # Not what marks the product's own processes: this one must not be taken for its child.
    env = {key: value for key, value in engine.environ.items() if not key.startswith("VBATCH_")}
    return Start(run_batch.as_run_batch(engine.args), env)


def as_installed(engine: Process, *, model: str, source: Path, engine_args: Sequence[str]) -> Start:
    """Return the start with no setting but the operator's own, in a plain environment."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("VBATCH_")}
    env |= {key: engine.environ[key] for key in _KEPT if key in engine.environ}
    command = [engine.args[0], "-m", run_batch.MODULE, "--model", str(source)]
    return Start([*command, "--served-model-name", model, *engine_args], env)
