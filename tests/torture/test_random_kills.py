"""SIGKILL at seeded moments of a run: nothing is lost, nothing twice, and work goes on."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.stack import Stack
from tests.torture.care import revive, wait_whole
from tests.torture.conftest import PLAN
from tests.torture.random_kills import VICTIMS, Kill, run_with_kill

SEED = int(os.environ.get("TORTURE_SEED", "1"))
KILLS = 30
FEW = [
    ("lane-task", "stack-cpu"),
    ("postgres", ""),
    ("group", ""),
]


def _drawn() -> list[tuple[str, str]]:
    """Return the victims of the long run: each once in seeded order, the rest drawn freely."""
    rng = random.Random(SEED)
    drawn = rng.sample(VICTIMS, len(VICTIMS))
    return drawn + rng.choices(VICTIMS, k=KILLS - len(drawn))


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A product with the lease as it is set by default."""
    folder = tmp_path_factory.mktemp("long-run")
    with Stack(folder, models={"toy": PLAN}) as running:
        yield running


def _check(kill: Kill, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{kill}", end="  ")
    assert kill.again <= kill.allowed_again, kill
    assert kill.standstill_s <= kill.allowed_s, kill


@pytest.mark.stack
@pytest.mark.parametrize(("role", "queue"), FEW)
def test_killed_process_costs_little(
    torn: Stack, role: str, queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = SEED + FEW.index((role, queue))
    _check(run_with_kill(torn, seed=seed, role=role, queue=queue), capsys)


@pytest.mark.torture
@pytest.mark.parametrize("number", range(KILLS))
def test_one_of_thirty_kills(
    long_run: Stack, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    revive(long_run)
    wait_whole(long_run)
    role, queue = _drawn()[number]
    _check(run_with_kill(long_run, seed=SEED * 1_000 + number, role=role, queue=queue), capsys)
