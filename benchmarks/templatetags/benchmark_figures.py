"""How changes, shares and latencies of benchmarks are written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import template

from jobs.templatetags.figures import DASH, duration, figure

register = template.Library()


@register.filter
def signed_percent(change: float | None) -> str:
    """Write a relative change: +3.2 %, −10 %, 0 %."""
    if change is None or isinstance(change, str):
        return DASH
    percent = change * 100
    size = round(abs(percent), 1)
    if not size:
        return "0 %"
    return f"{'−' if percent < 0 else '+'}{size:,.{0 if size >= 10 else 1}f} %"


@register.filter
def as_percent(share: float | str | None) -> str:
    """Write a share of 1: 97.5 %, 80 %; 100 % is all, and 0 % none."""
    if share is None or isinstance(share, str):
        return DASH
    percent = share * 100
    if 0 < percent < 100:
        percent = min(max(percent, 0.1), 99.9)
    return f"{round(percent, 1):g} %"


@register.filter
def milliseconds(value: float | str | None) -> str:
    """Write a latency: 8.25 ms, 850 ms, 12.3 s."""
    if value is None or isinstance(value, str):
        return DASH
    return figure(value, "ms") if abs(value) < 10_000 else figure(value / 1_000, "s")


@register.filter
def took(seconds: float | str | None) -> str:
    """Write what was measured in seconds: 0.191 s, 4 min 12 s."""
    if seconds is None or isinstance(seconds, str):
        return DASH
    return figure(seconds, "s") if seconds < 10 else duration(seconds)


@register.filter
def cost(value: float | str | None) -> str:
    """Write a cost with three digits that count, however small it is: 0.000132, 12.3, 1,234."""
    if value is None or isinstance(value, str):
        return DASH
    return f"{value:,.0f}" if value >= 1_000 else f"{Decimal(f'{value:.3g}'):f}"


@register.filter
def hours(seconds: float) -> float:
    return seconds / 3_600


@register.filter
def item(found: dict[str, Any], name: str) -> Any:
    """Return what a dictionary has under a name that is not known before."""
    return found.get(name)
