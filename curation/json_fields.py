"""Answers that are JSON, field by field: which paths they have, and which of them agree."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FIELDS_MAX = 200
DEPTH_MAX = 20
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class FieldRow:
    """A field of several answers: its value in each as JSON, None where it is not there."""

    path: str
    values: list[str | None]

    @property
    def is_same(self) -> bool:
        return all(value == self.values[0] for value in self.values)


def read_json_object(text: str) -> dict[str, Any] | None:
    """Return the object that an answer is, bare or in one fence of code; else None."""
    fenced = _FENCE.fullmatch(text)
    bare = (fenced[1] if fenced else text).strip()
    if not bare.startswith("{"):
        return None
    try:
        found = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def flatten(value: Any) -> dict[str, str]:
    """Return the leaves by their path (`a.b`, `a[0]`), as JSON."""
    found: dict[str, str] = {}
    _walk(value, "", 0, found)
    return found


def _walk(value: Any, path: str, depth: int, found: dict[str, str]) -> None:
    if isinstance(value, dict) and value and depth < DEPTH_MAX:
        for key, one in value.items():
            name = key if re.fullmatch(r"\w+", key) else f"[{json.dumps(key, ensure_ascii=False)}]"
            joint = "." if path and not name.startswith("[") else ""
            _walk(one, f"{path}{joint}{name}", depth + 1, found)
    elif isinstance(value, list) and value and depth < DEPTH_MAX:
        for number, one in enumerate(value):
            _walk(one, f"{path}[{number}]", depth + 1, found)
    else:
        found[path] = json.dumps(value, ensure_ascii=False, sort_keys=True)


def compare_fields(texts: Sequence[str | None]) -> list[FieldRow] | None:
    """Return the fields of all answers, in the order of their coming; None unless all are JSON.

    An answer that is None is missing: its fields are. Of more than FIELDS_MAX those that differ
    come first, and the rest is left out.
    """
    objects: list[dict[str, str]] = []
    for text in texts:
        value = {} if text is None else read_json_object(text)
        if value is None:
            return None
        try:
            objects.append(flatten(value) if value else {})
        except RecursionError:  # As deep as can be read, and too deep to be written.
            return None
    if sum(text is not None for text in texts) < 2:
        return None
    paths = dict.fromkeys(path for one in objects for path in one)
    rows = [FieldRow(path=path, values=[one.get(path) for one in objects]) for path in paths]
    if len(rows) > FIELDS_MAX:
        rows.sort(key=lambda row: row.is_same)
    return rows[:FIELDS_MAX]
