"""Counts as bars, for `curation/_bars.html`."""

from __future__ import annotations

from collections.abc import Mapping


def bars_of(counts: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Return name, count and the share of the largest in percent, in the order given."""
    most = max(counts.values(), default=0) or 1
    return [(name, count, f"{count / most * 100:.1f}") for name, count in counts.items()]
