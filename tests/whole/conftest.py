"""Products for tests of the whole: one that a module shares, and fresh ones for rough handling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running product with the stub models `toy` and `other`, shared by the module's tests."""
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, models={"toy": {}, "other": {}}) as running:
        running.start_web()
        running.start_worker()
        yield running


@pytest.fixture
def make_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Make a product of the test's own, as `Stack` takes it; nothing but its database runs."""
    with ExitStack() as taken_down:

        def make(**options: Any) -> Stack:
            return taken_down.enter_context(Stack(tmp_path_factory.mktemp("stack"), **options))

        yield make
