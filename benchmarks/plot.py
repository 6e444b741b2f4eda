"""What all drawings of benchmarks share: axes with round numbers, places, colours of models."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from jobs.templatetags.figures import figure

# As in charts.js: a model has one colour on every page.
COLOURS = 8
_SUM_MAX = 9_973
_STEPS = (1, 2, 2.5, 5, 10)
_CLOSEST = 1e-4


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A line of an axis: where it is, and the number that stands there."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values from `low` to `high` to places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[Tick]

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def axis_from_zero(most: float, *, start: float, end: float, ticks: int = 4) -> Axis:
    """Return an axis from 0 to the first round number that is not below `most`."""
    return axis_between(0.0, most, start=start, end=end, ticks=ticks)


def axis_between(low: float, high: float, *, start: float, end: float, ticks: int = 4) -> Axis:
    """Return an axis with round numbers that holds both values."""
    size = max(abs(low), abs(high))
    # Of values that are as good as equal no axis could tell one from the other.
    if high - low <= size * _CLOSEST:
        high = low + (size or 1.0)
    step = _step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    axis = Axis(low=first * step, high=last * step, start=start, end=end, ticks=[])
    for number in range(first, last + 1):
        value = number * step
        axis.ticks.append(Tick(at=axis.at(value), text=_words(value, step)))
    return axis


def colours_of(labels: Iterable[str]) -> dict[str, int]:
    """Return the colour of each model: its own where no other has it, and the same every time."""
    taken: set[int] = set()
    return {label: _colour_of(label, taken) for label in sorted(set(labels))}


def _colour_of(label: str, taken: set[int]) -> int:
    found = 0
    for letter in label:
        found = (found * 31 + ord(letter)) % _SUM_MAX
    index = found % COLOURS
    for _ in range(COLOURS):
        if index not in taken:
            break
        index = (index + 1) % COLOURS
    taken.add(index)
    return index


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * (1 - 1e-9))


def _words(value: float, step: float) -> str:
    if abs(value) >= 10_000:
        return f"{figure(value / 1_000)} k"
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if f"{step:e}"[2] == "5" else 0))
    return f"{value:,.{digits}f}"
