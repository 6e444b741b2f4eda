"""One product for all rough handling of the normal suite: it has to survive each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack
from tests.torture.care import revive, wait_whole

LEASE_S = 4
# 32 at once of 300 ms each: about 100 answers a second; the window is 40.
PLAN = {"latency_ms": 300, "max_concurrency": 32, "engine_args": "--max-num-seqs 32"}
# Shorter than by default, so that waiting for them takes less of the suite's time.
ENV = {"VBATCH_LEASE_S": str(LEASE_S), "VBATCH_DRAIN_S": "10"}


@pytest.fixture(scope="package")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running product with the models `toy` and `other`; leaving checks for what is left over."""
    folder = tmp_path_factory.mktemp("torture")
    with Stack(folder, models={"toy": PLAN, "other": PLAN}, env=ENV) as running:
        revive(running)
        yield running


@pytest.fixture
def torn(survivor: Stack) -> Iterator[Stack]:
    """The same, whole again and with its usual plans at the start of each test."""
    plan = {key: value for key, value in PLAN.items() if key != "engine_args"}
    for model in ("toy", "other"):
        survivor.write_plan(model, **plan)
    revive(survivor)
    wait_whole(survivor)
    yield survivor
