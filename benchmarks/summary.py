"""The figures of a run from those of its parts: of each the median, and all of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def medians(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure that every part has.

    Nested figures keep their places. What is true is true of all parts, words are joined.
    """
    if not parts:
        return {}
    found: dict[str, Any] = {}
    for name in parts[0]:
        values = [part[name] for part in parts if part.get(name) is not None]
        if len(values) < len(parts):
            continue
        first = values[0]
        if isinstance(first, Mapping):
            found[name] = medians(values)
        elif isinstance(first, bool):
            found[name] = all(values)
        elif isinstance(first, str):
            found[name] = "; ".join(dict.fromkeys(value for value in values if value))
        else:
            found[name] = statistics.median(values)
    return found


def figure(figures: Mapping[str, Any], path: str) -> float | None:
    """Return the figure at a path such as `latency_ms.ttft.median`; None where it is not."""
    value: Any = figures
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
