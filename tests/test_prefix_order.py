"""The run order is a permutation, brings equal beginnings together, and moves nothing in vain."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.prefix_order import STEPS, PrefixOrder

# Beginnings that share steps with each other, of lengths on both sides of the edges.
pieces = st.sampled_from(["a" * 128, "b" * 128, "a" * 127, "c" * 256, "é" * 64, "x" * 300, "tail"])
prompts = st.lists(st.lists(pieces, max_size=6).map("".join), max_size=40)


def order_of(texts: list[str], seeds: list[int] | None = None) -> list[int] | None:
    order = PrefixOrder()
    for number, text in enumerate(texts):
        order.add(text, seed=seeds[number] if seeds else 0)
    found = order.finish()
    return None if found is None else list(found)


def beginnings(text: str) -> list[bytes]:
    raw = text.encode()
    return [raw[:step] for step in STEPS if step <= len(raw)]


@given(prompts)
@settings(deadline=None)
def test_every_line_runs_once_and_equal_beginnings_stand_together(texts: list[str]) -> None:
    order = order_of(texts)
    if order is None:
        return
    assert sorted(order) == list(range(len(texts)))
    for depth in range(8):
        shared = [
            begun[depth] if len(begun) > depth else number
            for number, begun in ((n, beginnings(texts[n])) for n in order)
        ]
        runs = [key for key, _ in groupby(shared)]
        assert len(runs) == len(set(runs)), f"a beginning of {STEPS[depth]} bytes stands apart"


@given(prompts)
@settings(deadline=None)
def test_groups_and_their_lines_come_by_their_first_appearance(texts: list[str]) -> None:
    order = order_of(texts)
    if order is None:
        return
    firsts: dict[bytes, int] = {}
    for number, text in enumerate(texts):
        for begun in beginnings(text):
            firsts.setdefault(begun, number)
    keys = [[*(firsts[begun] for begun in beginnings(texts[n])), n] for n in order]
    assert keys == sorted(keys)


def test_interleaved_groups_are_sorted_out() -> None:
    texts = [f"{'abc'[n % 3] * 1_000} question {n}" for n in range(9)]
    assert order_of(texts) == [0, 3, 6, 1, 4, 7, 2, 5, 8]


def test_the_longest_shared_beginnings_are_closest() -> None:
    system, one, other = "s" * 512, "1" * 512, "2" * 512
    texts = [system + one + "a", "z" * 600, system + other + "b", system + one + "c"]
    assert order_of(texts) == [0, 3, 2, 1]


def test_the_order_of_the_file_stays_where_nothing_is_gained() -> None:
    assert order_of([]) is None
    assert order_of(["short"] * 10) is None
    # All alike at the beginning: they are together as they stand.
    assert order_of([f"{'s' * 1_000} {n}" for n in range(10)]) is None
    assert order_of([f"{n:0200} nothing shared" for n in range(10)]) is None


def test_the_order_of_the_file_stays_where_next_to_nothing_is_gained() -> None:
    long = [f"{n:04}" * 8_000 for n in range(100)]
    # Two short ones of a hundred long ones, far apart.
    assert order_of(["s" * 300, *long, "s" * 300]) is None
    assert order_of(["s" * 300, *long[:2], "s" * 30_000, long[2], "s" * 30_000]) is not None


def test_tools_stand_before_the_prompt() -> None:
    texts = ["s" * 1_000] * 4
    assert order_of(texts, [1, 2, 1, 2]) == [0, 2, 1, 3]


def test_beginnings_are_compared_up_to_the_longest_prompt_that_is_kept() -> None:
    assert len(STEPS) == 32
    assert 65_000 < STEPS[-1] <= 65_536
