"""What tokens cost, from the price of an hour of a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_MILLION = 1_000_000


def costs(figures: Mapping[str, Any], price_per_gpu_hour: Decimal | None) -> dict[str, float]:
    """Return what a million tokens cost in the currency of the price; nothing without one.

    The GPUs are paid for from the first request to the last answer; the start of the engine is
    not counted. A machine without a GPU counts as one.
    """
    if price_per_gpu_hour is None or "duration_s" not in figures:
        return {}
    hours = figures.get("gpus", 1) * figures["duration_s"] / 3_600
    cost = float(price_per_gpu_hour) * hours
    found = {"cost": cost}
    outgoing = figures.get("output_tokens", 0)
    both = outgoing + figures.get("input_tokens", 0)
    if outgoing:
        found["cost_per_million_output_tokens"] = cost / outgoing * _MILLION
    if both:
        found["cost_per_million_tokens"] = cost / both * _MILLION
    return found
