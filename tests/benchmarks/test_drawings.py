"""Where things stand in the drawings of benchmarks."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.comparing import METRICS, MetricVerdict
from benchmarks.interval_bars import lay_out_intervals
from benchmarks.plot import COLOURS, axis_between, axis_from_zero, colours_of
from benchmarks.run_figures import phases_of
from benchmarks.templatetags.benchmark_figures import (
    as_percent,
    cost,
    milliseconds,
    signed_percent,
    took,
)
from benchmarks.verdicts import Verdict
from vbatch_site.vendoring.kit import ROOT

NUMBERS = st.floats(min_value=1e-6, max_value=1e9)


@example(3.0, 1 - 2e-16)
@example(1.0, 1.0)
@given(NUMBERS, st.floats(min_value=0, max_value=1))
def test_an_axis_holds_its_values_between_round_numbers(most, share):
    low = most * share
    axis = axis_between(low, most, start=0.0, end=100.0)
    assert axis.low <= low * (1 + 1e-9) and most <= axis.high * (1 + 1e-9)
    assert 0 <= axis.at(low) <= axis.at(most) <= 100
    assert 2 <= len(axis.ticks) <= 8
    assert len({tick.text for tick in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize(
    ("most", "texts"),
    [
        (1_900, ["0", "500", "1,000", "1,500", "2,000"]),
        (0.9, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (9, ["0.0", "2.5", "5.0", "7.5", "10.0"]),
        (61_000, ["0", "20 k", "40 k", "60 k", "80 k"]),
    ],
)
def test_the_numbers_of_an_axis_are_round(most, texts):
    assert [tick.text for tick in axis_from_zero(most, start=0, end=1).ticks] == texts


def test_models_of_one_drawing_have_colours_of_their_own_as_in_other_charts():
    # By the rule of charts.js, which has it in its own words.
    script = (ROOT / "static" / "js" / "charts.js").read_text()
    assert re.search(r"sum \* 31 \+ letter.codePointAt\(0\)\) % 9973", script)
    assert f"const COLOURS = {COLOURS};" in script
    models = [f"model-{n}" for n in range(COLOURS)]
    assert len(set(colours_of(models).values())) == COLOURS
    assert colours_of(models) == colours_of([*reversed(models), *models]), "whatever their order"
    assert 0 <= colours_of([*models, "one more"])["one more"] < COLOURS


def _found(change: float, low: float | None, high: float | None) -> MetricVerdict:
    verdict = Verdict(name="noise" if low else "too few", change=change, low=low, high=high)
    return MetricVerdict(metric=METRICS[0], baseline=1.0, candidate=1.0, verdict=verdict)


def test_intervals_stand_about_the_line_of_no_change():
    drawn = lay_out_intervals([_found(-0.1, -0.12, -0.08), _found(0.02, None, None)])
    one, other = drawn.bars
    assert one.low < one.at < one.high < drawn.effect_low < drawn.zero < other.at
    assert drawn.zero == 50 and other.low is None and not one.cut
    wild = lay_out_intervals([_found(-0.1, -0.12, -0.08), _found(9.0, 5.0, 20.0)])
    assert wild.bars[1].cut and wild.bars[1].at == wild.bars[1].high == 99


def test_phases_fill_the_strip_and_those_of_no_length_are_left_out():
    bars = phases_of({"phases": {"validation_s": 1.0, "load_s": 0.0, "steady_s": 3.0}})
    assert [(bar.name, bar.start, bar.width) for bar in bars] == [
        ("validation", 0, 25),
        ("steady", 25, 75),
    ]
    assert phases_of({}) == []


def test_changes_shares_and_latencies_are_written_as_people_read_them():
    changes = (0.0321, -0.1, 0.0998, 0.0, -0.0001, None)
    assert [signed_percent(one) for one in changes] == [
        "+3.2 %",
        "−10 %",
        "+10 %",
        "0 %",
        "0 %",
        "–",
    ]
    assert [as_percent(one) for one in (1.0, 0.9999, 0.975, 0.00001, 0.0, None)] == [
        "100 %",
        "99.9 %",
        "97.5 %",
        "0.1 %",
        "0 %",
        "–",
    ]
    assert [milliseconds(one) for one in (8.25, 850, 12_300, "")] == [
        "8.25 ms",
        "850 ms",
        "12.3 s",
        "–",
    ]
    assert [took(one) for one in (0.191, 252.0, "")] == ["0.191 s", "4 min 12 s", "–"]
    assert [cost(one) for one in (0.00013245, 12.345, 1_234.5, 0.0, None)] == [
        "0.000132",
        "12.3",
        "1,234",
        "0",
        "–",
    ]
