"""Lays a histogram out as bars of an inline SVG, with its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.templatetags.figures import rounded, thousands
from monitoring.batch_figures import Bar

# The drawing's own units; the page scales it to the room that there is.
WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 36
SLOT_MAX = 40.0
LABELS_MAX = 6


@dataclass(frozen=True, kw_only=True)
class Rect:
    """A bar: where it stands, and what it says on hover and in the table."""

    x: float
    y: float
    width: float
    height: float
    range: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label under the left edge of a bar."""

    x: float
    text: str


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """A histogram as it is drawn; `unit` is that of its horizontal axis."""

    title: str
    unit: str
    rects: list[Rect]
    ticks: list[Tick]
    top: str
    count: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    ceiling: int = TOP
    floor: int = HEIGHT - BOTTOM


def lay_out(title: str, unit: str, bars: Sequence[Bar]) -> BarChart:
    """Lay out buckets that stand side by side; the tallest reaches the ceiling."""
    slot = min(SLOT_MAX, (WIDTH - LEFT - RIGHT) / max(1, len(bars)))
    most = max((bar.count for bar in bars), default=0)
    every = max(1, -(-len(bars) // LABELS_MAX))
    rects = []
    for index, bar in enumerate(bars):
        height = (HEIGHT - TOP - BOTTOM) * bar.count / most if most else 0.0
        # A single answer among thousands can still be seen.
        height = max(height, 1.5) if bar.count else 0.0
        rects.append(
            Rect(
                x=round(LEFT + index * slot + 0.5, 1),
                y=round(HEIGHT - BOTTOM - height, 1),
                width=round(max(1.0, slot - 1), 1),
                height=round(height, 1),
                range=_range(bar, unit),
                count=bar.count,
            )
        )
    ticks = [
        Tick(x=round(LEFT + index * slot, 1), text=_mark(bar.low, unit))
        for index, bar in enumerate(bars)
        if index % every == 0
    ]
    return BarChart(
        title=title,
        unit="s" if unit == "ms" else unit,
        rects=rects,
        ticks=ticks,
        top=rounded(most),
        count=sum(bar.count for bar in bars),
    )


def _range(bar: Bar, unit: str) -> str:
    if unit == "ms":
        low = f"{_seconds(bar.low)} s"
        return f"{low} and more" if bar.high is None else f"{low} to {_seconds(bar.high)} s"
    if bar.high is None:
        return f"{thousands(bar.low)} {unit} and more"
    last = bar.high - 1
    if last <= bar.low:
        return f"{thousands(bar.low)} {unit}"
    return f"{thousands(bar.low)} to {thousands(last)} {unit}"


def _mark(value: int, unit: str) -> str:
    if unit == "ms":
        return _seconds(value)
    return f"{value / 1024:.0f} Ki" if value >= 10_000 and value % 1024 == 0 else rounded(value)


def _seconds(milliseconds: int) -> str:
    """Write milliseconds as seconds with two digits that count: 0.014, 1.3, 21."""
    seconds = milliseconds / 1000
    if seconds >= 10:
        return f"{seconds:,.0f}"
    return f"{float(f'{seconds:.2g}'):g}"
