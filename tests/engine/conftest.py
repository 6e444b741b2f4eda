"""One product with real models for all these tests, and what was seen of its first starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.engine.lots import CHAT_LINES, COMPLETION_LINES, RESPONSE_LINES
from tests.engine.requests import chat, submit, waiting_for
from tests.engine.waiting import wait, wait_completed
from tests.stack import Results, Stack, check_finished
from tests.stack.product import ROOT

MODELS = ROOT / "var" / "models"
CHAT_ARGS = (
    "--enforce-eager --max-model-len 2048 --max-num-seqs 64 "
    "--enable-auto-tool-choice --tool-call-parser hermes"
)


def model_folder(name: str) -> Path:
    folder = MODELS / name
    assert (folder / "config.json").exists(), f"There is no {folder}: run `make setup` first."
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running product with a chat model, an embedding model, and one that cannot start."""
    chat_model = str(model_folder("smollm2-135m-instruct"))
    embedder = str(model_folder("all-minilm-l6-v2"))
    env = {
        "VBATCH_ENGINE_PYTHON": sys.executable,
        "VBATCH_CPU_KVCACHE_GIB": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with Stack(tmp_path_factory.mktemp("engine"), models={}, env=env) as running:
        running.save_model("broken", source=chat_model, engine_args="--no-such-argument")
        running.save_model("chat", source=chat_model, engine_args=CHAT_ARGS)
        running.save_model("embed", source=embedder, engine_args="--enforce-eager")
        running.start_web()
        running.start_worker()
        yield running


@pytest.fixture(scope="session")
def failed_start(stack: Stack) -> str:
    """What a batch waited for once its engine had failed to start; it was cancelled then."""
    batch = submit(stack, [chat("only", "Hello?", model="broken")])
    wait(stack, lambda: "could not start" in waiting_for(stack, batch), "the failed start")
    reason = waiting_for(stack, batch)
    stack.client.batches.cancel(batch)
    assert stack.wait_ended(batch, 15) == "cancelled"
    return reason


@dataclass
class First:
    """The first batches, one for each kind of answer, and what they waited for meanwhile."""

    results: dict[str, Results] = field(default_factory=dict)
    waited_for: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def first(stack: Stack, failed_start: str) -> First:
    lots = {"chat": CHAT_LINES, "completions": COMPLETION_LINES, "responses": RESPONSE_LINES}
    batches = {name: submit(stack, lines) for name, lines in lots.items()}
    seen = First()

    def is_answered() -> bool:
        if (told := waiting_for(stack, batches["chat"])) not in seen.waited_for:
            seen.waited_for.append(told)
        return stack.state(batches["chat"])[2] > 0

    wait(stack, is_answered, "the first answer")
    for name, lines in lots.items():
        wait_completed(stack, batches[name])
        seen.results[name] = check_finished(stack, batches[name], lines)
    return seen
