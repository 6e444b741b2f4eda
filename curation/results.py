"""Which answers are meant: a filter, read from an address and written into it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from jobs.prompts import is_storable

SINCE = {
    "1h": ("last hour", timedelta(hours=1)),
    "24h": ("last 24 h", timedelta(hours=24)),
    "7d": ("last 7 days", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
}
STATUS = {"ok": "answered", "failed": "failed"}
STARRED = {"yes": "gold stars", "no": "not starred"}
TOKENS_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class ResultFilter:
    """What narrows the answers; empty is everything.

    `q` is full text, as a search engine takes it: words, "a phrase", -without, one or another.
    """

    q: str = ""
    batch: str = ""
    model: str = ""
    project: str = ""
    status: str = ""
    finish: str = ""
    error: str = ""
    custom_id: str = ""
    tag: str = ""
    starred: str = ""
    since: str = ""
    min_tokens: int | None = None
    max_tokens: int | None = None
    min_rating: int | None = None
    max_rating: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> tuple[ResultFilter, dict[str, str]]:
        """Return the filter of a query, and what is wrong with it by the parameter's name.

        What is wrong does not narrow.
        """
        found: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for name in KEYS:
            text = query.get(name, "")
            if not text:
                continue
            value, problem = _READ[name](text)
            if problem:
                wrong[name] = problem
            else:
                found[name] = value
        return cls(**found), wrong

    def named(self) -> dict[str, str]:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: str(value) for name, value in values.items() if value not in ("", None)}

    @property
    def narrows(self) -> bool:
        return bool(self.named())

    def address(self, **more: Any) -> str:
        """Return the query string that brings back this view, with some of it changed."""
        named = {**self.named(), **more}
        return f"?{urlencode({key: value for key, value in named.items() if value != ''})}"


def _text(limit: int) -> Callable[[str], tuple[Any, str]]:
    def read(text: str) -> tuple[Any, str]:
        if len(text) > limit:
            return None, f"it is longer than {limit} characters"
        if not is_storable(text):
            return None, "it holds a NUL or half of a character pair"
        return text, ""

    return read


def _one_of(choices: Mapping[str, Any]) -> Callable[[str], tuple[Any, str]]:
    words = ", ".join(choices)
    return lambda text: (text, "") if text in choices else (None, f"it must be one of {words}")


def _number(low: int, high: int) -> Callable[[str], tuple[Any, str]]:
    def read(text: str) -> tuple[Any, str]:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
            return None, f"it must be a whole number from {low} to {high}"
        return int(text), ""

    return read


_READ: dict[str, Callable[[str], tuple[Any, str]]] = {
    "q": _text(1_000),
    "batch": _text(64),
    "model": _text(200),
    "project": _text(64),
    "status": _one_of(STATUS),
    "finish": _text(64),
    "error": _text(64),
    "custom_id": _text(512),
    "tag": _text(64),
    "starred": _one_of(STARRED),
    "since": _one_of(SINCE),
    "min_tokens": _number(0, TOKENS_MAX),
    "max_tokens": _number(0, TOKENS_MAX),
    "min_rating": _number(1, 10),
    "max_rating": _number(1, 10),
}
KEYS = tuple(_READ)
