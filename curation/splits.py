"""Which split an example falls into: by its group and a seed, the same for ever."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
SPLITS_MAX = 8
DEFAULT = "train 90, validation 5, test 5"


class InvalidSplits(Exception):
    """The splits cannot be as they were given; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """A part of a data set, and how much of it, in percent."""

    name: str
    percent: float


def read_splits(text: str) -> list[Split]:
    """Read `train 90, validation 5, test 5`; raises InvalidSplits."""
    found = []
    for part in text.split(","):
        words = part.split()
        if len(words) != 2 or not NAME.fullmatch(words[0]):
            raise InvalidSplits(
                f"'{part.strip()[:60]}' is not a name and a percentage, as in '{DEFAULT}'. A name "
                "has small letters, digits and '_'."
            )
        try:
            percent = float(words[1].removesuffix("%"))
        except ValueError:
            raise InvalidSplits(f"'{words[1][:60]}' is not a percentage.") from None
        if not 0 < percent <= 100:
            raise InvalidSplits(
                f"{words[0]} has {words[1]} percent: it must be above 0, up to 100."
            )
        found.append(Split(name=words[0], percent=percent))
    if len({one.name for one in found}) < len(found):
        raise InvalidSplits("Two splits have the same name.")
    if len(found) > SPLITS_MAX:
        raise InvalidSplits(f"At most {SPLITS_MAX} splits are made.")
    total = sum(one.percent for one in found)
    if abs(total - 100) > 0.01:
        raise InvalidSplits(f"The percentages add up to {total:g}, not to 100.")
    return found


def split_of(group: str, *, seed: int, splits: Sequence[Split]) -> str:
    """Return the split of a group: all of a group fall into one.

    A group stays where it is when others come or go, as long as seed and splits are the same.
    """
    digest = hashlib.sha256(f"{seed}:{group}".encode("utf-8", "replace")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * 100
    for split in splits:
        place -= split.percent
        if place < 0:
            return split.name
    return splits[-1].name
