"""Rubrics: along what answers are judged, read from a few lines of text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.prompts import is_storable

RATING, GOOD_BAD, CHOICE, CHOICES, TEXT = "rating", "good/bad", "choice", "choices", "text"
KINDS = (RATING, GOOD_BAD, CHOICE, CHOICES, TEXT)
GOOD, BAD = "good", "bad"
DIMENSIONS_MAX = 12
OPTIONS_MAX = 20
TEXT_MAX = 20_000
RATING_MIN, RATING_MAX = 1, 10
DEFAULT = "quality: rating"
EXAMPLE = """quality: rating
usable: good/bad
tone: choice formal, casual, rude
flaws: choices wrong, invented, cut off (optional)
why: text"""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,39}")


class InvalidRubric(Exception):
    """A line cannot be read; the message names it and says what it should be."""


class InvalidValue(Exception):
    """A value does not fit its dimension; `name` names that, the message says why."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One question of a rubric."""

    name: str
    kind: str
    options: tuple[str, ...] = ()
    optional: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """What digits choose, in their order."""
        if self.kind == RATING:
            return tuple(str(number) for number in range(RATING_MIN, RATING_MAX + 1))
        return (GOOD, BAD) if self.kind == GOOD_BAD else self.options


def read_rubric(text: str) -> list[Dimension]:
    """Read a rubric, a dimension a line: `tone: choice formal, casual`; raises InvalidRubric."""
    found: list[Dimension] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            found.append(_read_line(number, line.strip()))
    if not found:
        raise InvalidRubric(f"The rubric is empty. One line is enough: {DEFAULT}")
    names = [one.name.casefold() for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRubric(f"Two dimensions are named '{name}'.")
    if len(found) > DIMENSIONS_MAX:
        raise InvalidRubric(f"At most {DIMENSIONS_MAX} dimensions are asked for.")
    return found


def _read_line(number: int, line: str) -> Dimension:
    name, colon, rest = line.partition(":")
    name, rest = name.strip(), rest.strip()
    if not colon or not _NAME.fullmatch(name):
        raise InvalidRubric(
            f"Line {number}: write a name, a colon and a kind, as in '{DEFAULT}'. A name has "
            "letters, digits, spaces, '_' and '-'."
        )
    optional = rest.endswith("(optional)")
    rest = rest.removesuffix("(optional)").strip()
    kind = next((one for one in sorted(KINDS, key=len, reverse=True) if _is(one, rest)), None)
    if kind is None:
        raise InvalidRubric(f"Line {number}: the kind of '{name}' is none of {', '.join(KINDS)}.")
    options = tuple(dict.fromkeys(o.strip() for o in rest[len(kind) :].split(",") if o.strip()))
    if kind in (CHOICE, CHOICES):
        if not 2 <= len(options) <= OPTIONS_MAX:
            raise InvalidRubric(
                f"Line {number}: '{name}' needs 2 to {OPTIONS_MAX} options, with commas between."
            )
    elif options:
        raise InvalidRubric(f"Line {number}: '{kind}' takes no options.")
    return Dimension(name=name, kind=kind, options=options, optional=optional or kind == TEXT)


def _is(kind: str, text: str) -> bool:
    return text == kind or text.startswith(f"{kind} ")


def check_values(
    rubric: list[Dimension], values: Mapping[str, Any], *, complete: bool
) -> dict[str, Any]:
    """Return the values as they are kept; raises InvalidValue.

    With `complete`, each dimension that is not optional must have one. Ratings are whole numbers,
    choices lists of options, in the rubric's order.
    """
    known = {one.name: one for one in rubric}
    for name in values:
        if name not in known:
            raise InvalidValue(str(name)[:60], "the rubric has no such dimension")
    found: dict[str, Any] = {}
    for one in rubric:
        value = values.get(one.name)
        if value in (None, "", []):
            if complete and not one.optional:
                raise InvalidValue(one.name, "it is still to be judged")
            continue
        found[one.name] = _check(one, value)
    return found


def _check(one: Dimension, value: Any) -> Any:
    if one.kind == RATING:
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 3:
            value = int(value)
        good = isinstance(value, int) and not isinstance(value, bool)
        if not good or not RATING_MIN <= value <= RATING_MAX:
            raise InvalidValue(one.name, f"it must be from {RATING_MIN} to {RATING_MAX}")
        return value
    if one.kind == CHOICES:
        chosen = value if isinstance(value, list) else [value]
        if not all(option in one.options for option in chosen):
            raise InvalidValue(one.name, f"it must be of {', '.join(one.options)}")
        return [option for option in one.options if option in chosen]
    if one.kind == TEXT:
        if not isinstance(value, str) or len(value) > TEXT_MAX or not is_storable(value):
            raise InvalidValue(one.name, f"it must be a text of at most {TEXT_MAX:,} characters")
        return value
    if value not in one.keys:
        raise InvalidValue(one.name, f"it must be one of {', '.join(one.keys)}")
    return value


def rating_of(rubric: list[Dimension], values: Mapping[str, Any]) -> int | None:
    """Return the value of the first rating of a rubric, None without one."""
    for one in rubric:
        if one.kind == RATING and isinstance(values.get(one.name), int):
            return int(values[one.name])
    return None


def differ(rubric: list[Dimension], several: list[Mapping[str, Any]]) -> list[str]:
    """Return the dimensions in which judgements differ; ratings next to each other agree."""
    found = []
    for one in rubric:
        given = [values[one.name] for values in several if one.name in values]
        if one.kind == TEXT or len(given) < 2:
            continue
        if one.kind == RATING:
            if max(given) - min(given) > 1:
                found.append(one.name)
        elif any(value != given[0] for value in given):
            found.append(one.name)
    return found
