"""What people send in a form, read the same everywhere: numbers, texts, tags, judgements."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict

from curation.gold_fields import InvalidGold
from curation.rubric import CHOICES, Dimension, InvalidValue

# A 64-bit number holds any of so many digits.
_DIGITS = 18


def read_number(text: str) -> int | None:
    """Return a whole number that a database can be asked for, None for any other text."""
    text = text.strip()
    is_one = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    return int(text) if is_one else None


def read_text(form: QueryDict, name: str) -> str:
    """Return a text as it was typed: forms send a line break as two characters."""
    return form.get(name, "").replace("\r\n", "\n")


def read_edit(form: QueryDict) -> str | None:
    """Return the edited answer; a blank one is none."""
    edited = read_text(form, "edited_answer")
    return edited if edited.strip() else None


def read_tags(form: QueryDict) -> list[str]:
    return [tag for tag in form.get("tags", "").split(",") if tag.strip()]


def read_values(form: QueryDict, rubric: list[Dimension]) -> dict[str, Any]:
    """Return what is said along a rubric, to be checked by `check_values`."""
    found: dict[str, Any] = {}
    for one in rubric:
        field = f"value-{one.name}"
        found[one.name] = form.getlist(field) if one.kind == CHOICES else form.get(field, "")
    return found


def problem_words(error: Exception) -> str:
    """Say in a sentence what is wrong with what was sent."""
    if isinstance(error, InvalidValue):
        return f"{error.name}: {error}."
    if isinstance(error, InvalidGold):
        return f"{error.field.replace('_', ' ').capitalize()}: {error}."
    return str(error)
