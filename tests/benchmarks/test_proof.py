"""The pure parts of `make bench`: ratios, ranges, steady rates, the table, what is asked."""

from __future__ import annotations

import math
import statistics

import pytest

from benchmarks.harness.proof import prompts, results
from benchmarks.harness.proof.__main__ import kept
from benchmarks.harness.proof.duplicates import half_twice
from benchmarks.harness.proof.ours import in_turn
from benchmarks.harness.proof.prefixes import EACH, GROUPS, prefix_lines
from benchmarks.harness.proof.prompts import chat_lines
from benchmarks.harness.proof.results import (
    Result,
    interval_of_median,
    median,
    percentile,
    ratio,
)
from benchmarks.harness.proof.steady import steady_rate
from benchmarks.harness.proof.table import BEGIN, END, goal, markdown, measured, number, put_between

MACHINE = {
    "day": "2026-11-28",
    "cores": 2,
    "cpu": "A CPU",
    "memory_gib": 23.5,
    "gpus": [],
    "vllm": "0.32.0",
    "model": "small",
}


def test_a_ratio_is_that_of_the_medians_and_its_range_that_of_the_pairs() -> None:
    found = ratio("chat", "faster", [30.0, 10.0, 20.0], [10.0, 10.0, 40.0], goal=1.5)
    assert (found.value, found.low, found.high) == (2.0, 0.5, 3.0)
    assert found.held is True
    assert found.repeats == 3


def test_a_ratio_of_unlike_numbers_of_repeats_takes_the_most_unlike_values() -> None:
    found = ratio("small", "faster", [100.0], [10.0, 20.0, 25.0])
    assert (found.value, found.low, found.high) == (5.0, 4.0, 10.0)
    assert found.held is None


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        ratio("chat", "faster", [], [1.0])
    with pytest.raises(ValueError, match="nothing was measured"):
        median("chat", "fast", [], unit="s")


def test_a_goal_may_be_a_least_or_a_most() -> None:
    most = Result(part="control", what="memory", value=151.0, sign="<=", goal=150.0)
    assert most.held is False
    assert goal(most) == "at most 150: missed"
    assert Result(part="control", what="memory", value=150.0, sign="<=", goal=150.0).held
    least = Result(part="chat", what="ratio", value=1.49, sign=">=", goal=1.5)
    assert least.held is False


def test_the_interval_of_the_median_is_always_the_same_and_within_the_values() -> None:
    values = [0.91, 0.95, 0.97, 0.98, 0.99, 1.0, 1.04]
    low, high = interval_of_median(values)
    assert (low, high) == interval_of_median(values)
    assert min(values) <= low < statistics.median(values) < high <= max(values)
    assert interval_of_median([1.0] * 7) == (1.0, 1.0)


def test_the_interval_rests_on_no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESAMPLES", 50)
    values = [math.sin(number) for number in range(40)]
    assert len({interval_of_median(values) for _ in range(5)}) == 1


def test_a_percentile_is_a_value_that_so_many_do_not_exceed() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.99) == 7


def test_the_steady_rate_goes_from_a_whole_group_to_a_whole_group() -> None:
    points = [(1.0, 50), (2.0, 150), (3.0, 500), (4.0, 890), (9.0, 1000)]
    assert steady_rate(points, 1000) == (890 - 150) / 2.0
    assert steady_rate([(1.0, 500), (2.0, 1000)], 1000) is None
    assert steady_rate([], 10) is None


def test_what_is_compared_runs_forwards_and_backwards() -> None:
    assert list(in_turn(("a", "b"), 3)) == [
        *((0, "a"), (0, "b")),
        *((1, "b"), (1, "a")),
        *((2, "a"), (2, "b")),
    ]


def test_prompts_are_varied_all_different_and_the_same_for_a_seed() -> None:
    def texts(seed: str) -> list[str]:
        lines = chat_lines(64, model="m", seed=seed, max_tokens=8)
        return [line["body"]["messages"][0]["content"] for line in lines]

    first = texts("one")
    assert first == texts("one")
    assert len(set(first)) == 64
    assert not set(first) & set(texts("two"))
    lengths = sorted(len(text.split()) for text in first)
    assert lengths[-1] > 4 * lengths[0]


def test_a_prompt_that_was_drawn_before_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "passage", lambda words, draw: str(draw.randrange(8)))
    lines = prompts.chat_lines(40, model="m", seed="s", max_tokens=8)
    texts = [line["body"]["messages"][0]["content"] for line in lines]
    assert len(texts) == len(set(texts)) == 40


def test_the_best_order_has_the_lines_of_the_file_group_by_group() -> None:
    def of(by_group: bool) -> list[tuple[str, str]]:
        lines = prefix_lines(model="m", seed="s", by_group=by_group)
        return [(line["custom_id"], line["body"]["messages"][0]["content"]) for line in lines]

    file, best = of(False), of(True)
    assert len(file) == GROUPS * EACH
    assert sorted(file) == sorted(best)
    groups = [custom_id.split("-")[0] for custom_id, _ in best]
    assert sum(one != other for one, other in zip(groups, groups[1:], strict=False)) == GROUPS - 1
    neighbours = [custom_id.split("-")[0] for custom_id, _ in file]
    assert all(one != other for one, other in zip(neighbours, neighbours[1:], strict=False))


def test_every_body_of_the_duplicates_stands_twice() -> None:
    lines = list(half_twice(40, model="m", seed="s", max_tokens=8))
    bodies = [str(line["body"]) for line in lines]
    assert {bodies.count(body) for body in bodies} == {2}
    assert len({line["custom_id"] for line in lines}) == 40


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (12_345.6, "12,346"),
        (99.5, "99.5"),
        (10.0, "10"),
        (1.0, "1"),
        (0.954, "0.95"),
        (0.0123, "0.012"),
        (0.0, "0"),
    ],
)
def test_a_figure_is_told_with_the_digits_that_count(value: float, told: str) -> None:
    assert number(value) == told


def test_the_table_says_when_on_what_and_with_which_range() -> None:
    rows = [
        ratio("chat", "requests", [2.0, 3.0, 4.0], [2.0, 2.0, 2.0], goal=1.5),
        median("control", "p99", [12.0], unit="ms", note="one run"),
    ]
    text = markdown(rows, MACHINE)
    assert "Measured on 2026-11-28: 2 cores (A CPU), 24 GiB, no GPU, vLLM 0.32.0, small." in text
    assert "| requests | 1.5 (1 to 2) times | at least 1.5 |" in text
    assert "| p99 | 12 ms; one run |  |" in text


def test_the_short_table_leaves_out_what_others_rest_on() -> None:
    rows = [
        median("chat", "the ratio", [2.0], unit="times"),
        median("chat", "one side of it", [4.0], unit="s", detail=True),
    ]
    assert "one side of it" in markdown(rows, MACHINE)
    short = markdown(rows, MACHINE, details=False)
    assert "the ratio" in short and "one side of it" not in short


def test_the_table_takes_the_place_of_the_one_before() -> None:
    document = f"# Title\n\n{BEGIN}\nold\n{END}\n\nMore.\n"
    once = put_between(document, "new\n")
    assert once == f"# Title\n\n{BEGIN}\nnew\n{END}\n\nMore.\n"
    assert put_between(once, "new\n") == once
    with pytest.raises(ValueError, match="has no"):
        put_between("# Title\n", "new\n")


def test_a_figure_without_a_range_has_none() -> None:
    assert measured(Result(part="x", what="y", value=math.pi, unit="s")) == "3.14 s"
    once = Result(part="x", what="y", value=2.0, low=2.0, high=2.0, unit="s")
    assert measured(once) == "2 s", "of one repeat there is no range"


def test_parts_that_are_not_run_again_stay_as_they_were() -> None:
    before = [
        median("chat", "rate", [1.0, 3.0], unit="per s", sign=">=", goal=5.0),
        median("api", "p50", [2.0], unit="ms"),
    ]
    written = {
        "parts": {"chat": {"lines": 2}, "api": {"rate": 200}},
        "results": [one.as_json() for one in before],
    }
    figures, found = kept(written, without=["api"])
    assert figures == {"chat": {"lines": 2}}
    assert found == before[:1]
