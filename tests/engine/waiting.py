"""Waiting for what may take a load of the engine, and no longer than the worker lives."""

from __future__ import annotations

from collections.abc import Callable

from tests.stack import Stack
from tests.stack.product import ENDED

# A busy machine of two cores is allowed for; alone, a load takes about 25 s.
LOAD_S = 240.0


def wait(stack: Stack, check: Callable[[], bool], what: str) -> None:
    """Wait until `check` is true, for LOAD_S seconds at most."""

    def look() -> bool:
        assert stack.is_running("worker"), stack.log("worker")
        return check()

    stack.wait(look, LOAD_S, lambda: f"{what}\n{logs(stack)}")


def wait_completed(stack: Stack, batch_id: str) -> None:
    wait(stack, lambda: stack.state(batch_id)[0] in ENDED, f"the end of {batch_id}")
    assert stack.state(batch_id)[0] == "completed"


def logs(stack: Stack) -> str:
    """Return the ends of the logs of the lane and of its engine."""
    names = ("cluster-stack-cpu.log", "engine-stack-cpu.log")
    return "\n".join(f"--- {name}\n{stack.log(name, lines=30)}" for name in names)
