"""A product whose first host runs, and the making of more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.stack import Stack
from tests.stack.hosts import Host

# About 160 answers a second from each host.
PLAN = {"latency_ms": 100, "max_concurrency": 16, "engine_args": "--max-num-seqs 16"}


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A product with a web server; its own data folder has the database and the files."""
    with Stack(tmp_path_factory.mktemp("hosts"), models={"toy": PLAN}) as running:
        running.start_web()
        yield running


@pytest.fixture
def make_host(stack: Stack) -> Iterator[Callable[..., Host]]:
    """Make a host of the stack, as `Host` takes it; all of it is gone when the test ends."""
    with ExitStack() as taken_down:

        def make(name: str, **options: Any) -> Host:
            return taken_down.enter_context(Host(stack, name, **options))

        yield make
