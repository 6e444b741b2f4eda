"""What came to an engine's door: which lines, how often and when."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.stack import Stack


@dataclass(frozen=True)
class Arrival:
    at: float
    custom_id: str
    engine_pid: int


def arrivals(stack: Stack, lines: Sequence[dict[str, Any]], *, model: str = "toy") -> list[Arrival]:
    """Return the requests of `lines` in the order in which they came; their bodies must differ."""
    names = {
        hashlib.sha1(json.dumps(line["body"], ensure_ascii=False).encode()).hexdigest(): str(
            line["custom_id"]
        )
        for line in lines
    }
    assert len(names) == len(lines), "two lines have the same body"
    path = stack.model_dir(model) / "door.log"
    rows = [row.split() for row in path.read_text().splitlines()] if path.exists() else []
    return [Arrival(float(row[0]), names[row[1]], int(row[2])) for row in rows if row[1] in names]


def times_asked(
    stack: Stack, lines: Sequence[dict[str, Any]], *, model: str = "toy"
) -> Counter[str]:
    """Return how often each line was asked, by its custom_id."""
    return Counter(arrival.custom_id for arrival in arrivals(stack, lines, model=model))


def asked_again(stack: Stack, lines: Sequence[dict[str, Any]], *, model: str = "toy") -> int:
    """Return how many requests of `lines` were computed more often than once."""
    counts = times_asked(stack, lines, model=model)
    return counts.total() - len(counts)
