"""What a version of a data set holds twice: prompts in two splits, and prompts that are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from curation.near_duplicates import THRESHOLD

# Of each kind of finding so many are kept to be shown.
SHOWN = 50


def find_leaks(
    kept: list[dict[str, Any]], placed: list[str], clusters: list[int]
) -> dict[str, Any]:
    """Return the groups of equal or alike prompts that lie in more than one split."""
    members: dict[int, list[int]] = defaultdict(list)
    for at, cluster in enumerate(clusters):
        members[cluster].append(at)
    # The same words may be split into messages in another way: then the digests differ.
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(kept):
        by_prompt[row["prompt"]].append(at)
    exact = [group for group in by_prompt.values() if len({placed[at] for at in group}) > 1]
    near = [
        group
        for group in members.values()
        if len({placed[at] for at in group}) > 1 and len({kept[at]["prompt"] for at in group}) > 1
    ]
    return {
        "count": len(exact) + len(near),
        "exact": len(exact),
        "near": len(near),
        "threshold": THRESHOLD,
        "shown": [
            {
                "kind": kind,
                "rows": [
                    {"custom_id": kept[at]["custom_id"], "split": placed[at]} for at in group[:6]
                ],
                "size": len(group),
            }
            for kind, groups in (("exact", exact), ("near", near))
            for group in groups[:SHOWN]
        ],
    }


def count_alike(clusters: Sequence[int]) -> int:
    """Return how many rows have a prompt like one before."""
    return sum(cluster != at for at, cluster in enumerate(clusters))


def count_values(values: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))
