"""How figures, times, ids and icons are written on every page."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs.models import Batch

register = template.Library()

DASH = "–"
_ISO_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00")


@register.filter
def thousands(value: int | None) -> str:
    """Write a count in full: 1,234,567."""
    return DASH if value is None else f"{value:,}"


@register.filter
def rounded(value: int | None) -> str:
    """Write a large count short: 9,999, then 12.3 k, 1.2 M, 3.4 G."""
    if value is None:
        return DASH
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= limit:
            size = 1_000 if unit == "k" else limit
            return f"{value / size:.1f} {unit}"
    return f"{value:,}"


@register.simple_tag
def count(value: int | None) -> SafeString:
    """Write a large count short, with the exact figure on hover."""
    return format_html('<span title="{}">{}</span>', thousands(value), rounded(value))


@register.filter
def per_second(value: float | None) -> str:
    """Write a rate with three digits that count: 0.25, 12.3, 4,321, 51.2 k."""
    if value is None:
        return DASH
    if value >= 100:
        return rounded(round(value))
    return f"{float(f'{value:.3g}'):g}"


@register.filter
def memory(value: float | str | None) -> str:
    """Write bytes of memory as charts do: 79.6 GiB."""
    return DASH if value is None or isinstance(value, str) else f"{value / 2**30:,.1f} GiB"


@register.filter
def figure(value: float | str | None, unit: str = "") -> str:
    """Write a measured value with three digits and its unit: 1,234, 12.3 ms, 0.123."""
    if value is None or isinstance(value, str):  # Templates have "" for what is not there.
        return DASH
    size = abs(value)
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()


@register.filter
def duration(seconds: float | None) -> str:
    """Write a duration in its two largest units: 4 min 12 s."""
    if seconds is None:
        return DASH
    left = round(seconds)
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        amount, left = divmod(left, size)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"


@register.filter
def roughly(seconds: float) -> str:
    """Write an estimated duration, as exact as an estimate can be: 12 min, never 12 min 3 s."""
    steps = ((120, 5), (600, 10), (7_200, 60), (172_800, 600))
    step = next((step for below, step in steps if seconds < below), 3_600)
    return duration(max(step, round(seconds / step) * step))


@register.filter
def roughly_to(low_s: float, high_s: float) -> str:
    """Write the band of an estimate: ≈ 5 min to 7 min; one figure where it is no wider."""
    low, high = roughly(low_s), roughly(high_s)
    return f"≈ {low}" if low == high else f"≈ {low} to {high}"


@register.simple_tag
def moment(value: datetime | None) -> SafeString:
    """Write a time; the page turns it into a relative one, with the absolute one on hover."""
    if value is None:
        return format_html("{}", DASH)
    utc = value.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{} UTC</time>',
        utc.isoformat(timespec="seconds"),
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        utc.strftime("%Y-%m-%d %H:%M"),
    )


@register.filter
def short_id(public_id: str) -> str:
    """Write an id short; the first eight of its random digits tell it from the others."""
    head, _, digits = public_id.partition("_")
    return f"{head}_{digits[:8]}" if digits else public_id[:16]


@register.filter
def spaced(name: str) -> str:
    """Write the name of a state in words: in progress."""
    return name.replace("_", " ")


@register.filter
def plainly(text: str) -> str:
    """Write a reason as people read it; the API gives it with exact times and code marks."""
    return _ISO_TIME.sub(r"\1 \2 UTC", text).replace("`", "")


@register.filter
def percent(part: int, whole: int) -> str:
    """Write a share as CSS and people read it: 12.5, never 100.0 before all is done."""
    if not whole:
        return "0"
    share = part / whole * 100
    return "100" if part == whole else f"{min(share, 99.9):.1f}"


@register.filter
def share(part: float | str | None, whole: float | str | None) -> str:
    """Write how much of a bar a measured value fills, from 0 to 100."""
    if not isinstance(part, int | float) or not isinstance(whole, int | float) or not whole:
        return "0"
    return f"{min(100.0, max(0.0, part / whole * 100)):.1f}"


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon of the sprite; the word beside it says what it means."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="#i-{}"></use></svg>', name)


@register.filter
def lasted(batch: Batch) -> float | None:
    """Return the seconds from a batch's creation to its end; None while it lives."""
    ended = batch.ended_at
    return None if ended is None else (ended - batch.created_at).total_seconds()
