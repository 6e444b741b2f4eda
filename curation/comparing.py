"""What is compared with what: read from an address and written into it again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode

from jobs.prompts import is_storable

SIDES_MAX = 6
MODEL = "model:"
BY = {"custom_id": "custom_id", "prompt": "prompt"}
SHOW = {
    "": "all",
    "different": "only different",
    "same": "only the same",
    "missing": "missing on a side",
    "failed": "failed on a side",
}
_BATCH = re.compile(r"batch_[0-9a-zA-Z]{1,58}")
_PLACE = re.compile(r"([0-9])\.([0-9]{1,18})")


class Place(NamedTuple):
    """Where a row stands: the side whose rows are walked through, and the number in it."""

    stage: int
    number: int

    @classmethod
    def read(cls, text: str) -> Place | None:
        found = _PLACE.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.stage}.{self.number}"


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """The sides, each the id of a batch or `model:` and a name, and by what rows are joined."""

    sides: tuple[str, ...] = ()
    by: str = "custom_id"
    show: str = ""
    project: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str], sides: Sequence[str]) -> tuple[Comparing, list[str]]:
        """Return what a query asks for, and in words what of it is left out."""
        wrong: list[str] = []
        kept: list[str] = []
        for text in (side.strip() for side in sides):
            if not text or text in kept:
                continue
            is_model = text.startswith(MODEL) and len(text) > len(MODEL)
            if len(text) > 300 or not is_storable(text):
                wrong.append("A side is too long, or holds what no name can hold.")
            elif not is_model and not _BATCH.fullmatch(text):
                wrong.append(
                    f"“{text[:80]}” is neither the id of a batch nor {MODEL} and a model's name."
                )
            elif len(kept) == SIDES_MAX:
                wrong.append(f"{SIDES_MAX} sides at most are compared at once.")
            else:
                kept.append(text)
        # What several batches answered has no custom_id in common, but by chance.
        usual = "prompt" if any(side.startswith(MODEL) for side in kept) else "custom_id"
        by, show = query.get("by", ""), query.get("show", "")
        project = query.get("project", "")
        if len(project) > 200 or not is_storable(project):
            project = ""
        return (
            cls(
                sides=tuple(kept),
                by=by if by in BY else usual,
                show=show if show in SHOW else "",
                project=project,
            ),
            wrong,
        )

    def address(self, **more: str | Sequence[str]) -> str:
        """Return the query string that brings back this view, with some of it changed."""
        named = {
            "side": self.sides,
            "by": self.by,
            "show": self.show,
            "project": self.project,
            **more,
        }
        return f"?{urlencode({key: value for key, value in named.items() if value}, doseq=True)}"
