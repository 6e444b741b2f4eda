"""What a person says of an answer, checked field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from jobs.prompts import is_storable

SCORE_MIN, SCORE_MAX = 1, 10
TAG_MAX = 64
TAGS_MAX = 50
NOTES_MAX = 20_000
ANSWER_MAX = 4_000_000


class GoldFields(TypedDict, total=False):
    """What a person says of an answer; what is left out stays as it is."""

    quality_score: int
    tags: Iterable[str]
    notes: str
    edited_answer: str | None


class InvalidGold(Exception):
    """A field cannot be as it was given; `field` names it, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_fields(fields: GoldFields) -> dict[str, Any]:
    """Return the fields as they are kept: tags stripped and once each; raises InvalidGold."""
    return {name: _CHECKS[name](value) for name, value in fields.items()}


def _check_score(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidGold("quality_score", "it must be a whole number, 1 (poor) to 10 (best)")
    if not SCORE_MIN <= value <= SCORE_MAX:
        raise InvalidGold(
            "quality_score", f"it must be from {SCORE_MIN} to {SCORE_MAX}, but is {value}"
        )
    return value


def _check_tags(value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidGold("tags", "they must be a list of texts")
    found: dict[str, None] = {}
    for one in value:
        if not isinstance(one, str):
            raise InvalidGold("tags", "each must be a text")
        tag = one.strip()
        if not tag or len(tag) > TAG_MAX or not is_storable(tag):
            raise InvalidGold("tags", f"each must have 1 to {TAG_MAX} characters, and no NUL")
        found[tag] = None
    if len(found) > TAGS_MAX:
        raise InvalidGold("tags", f"at most {TAGS_MAX} are kept, but {len(found)} were given")
    return list(found)


def _check_notes(value: Any) -> str:
    return _check_text("notes", value, NOTES_MAX)


def _check_answer(value: Any) -> str | None:
    if value is None:
        return None
    text = _check_text("edited_answer", value, ANSWER_MAX)
    if not text.strip():
        raise InvalidGold("edited_answer", "it is empty; null keeps the answer as it was given")
    return text


def _check_text(name: str, value: Any, limit: int) -> str:
    if not isinstance(value, str):
        raise InvalidGold(name, "it must be a text")
    if len(value) > limit:
        raise InvalidGold(name, f"at most {limit:,} characters are kept, but it has {len(value):,}")
    if not is_storable(value):
        raise InvalidGold(name, "it holds a NUL or half of a character pair")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "quality_score": _check_score,
    "tags": _check_tags,
    "notes": _check_notes,
    "edited_answer": _check_answer,
}
