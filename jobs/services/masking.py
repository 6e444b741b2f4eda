"""What of a changed value may be told: never what could be a secret."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

HIDDEN = "…"
# In the name of an argument: its value is hidden, whatever it looks like.
_SECRET_NAME = re.compile("key|secret|pass|pwd|credential|auth|bearer|header", re.I)
_SECRET_WORDS = {"token", "pat"}
# A number with its unit, or a short word such as `bfloat16`; all else could be a secret.
_PLAIN_VALUE = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?[kKmMgG]?|[A-Za-z]{1,12}[0-9]{0,3}")
_VARIABLE = re.compile("[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Change:
    """What a field was, and what it became."""

    field: str
    old: Any
    new: Any


def told(changes: Iterable[Change]) -> dict[str, dict[str, Any]]:
    """Return the changes as the audit keeps them, by field."""
    return {
        change.field: {
            "old": told_value(change.field, change.old),
            "new": told_value(change.field, change.new),
        }
        for change in changes
    }


def told_value(field: str, value: Any) -> Any:
    """Return a field's value with whatever could be a secret left out, as JSON can hold it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    if field == "engine_args":
        return told_arguments(value)
    if field == "webhook_url":
        # Often the path itself lets in whoever knows it.
        return told_address(value, with_path=False)
    if field == "upstream_key_env":
        # It should be the name of a variable; somebody will enter the key itself.
        return value if not value or _VARIABLE.fullmatch(value) else HIDDEN
    return told_address(value) if "://" in value else value


def told_address(url: str, *, with_path: bool = True) -> str:
    """Return an address without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    if not host:
        return HIDDEN if url else ""
    rest = parts.path if with_path else HIDDEN if parts.path.strip("/") else ""
    more = HIDDEN if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{host}{port}{rest if with_path else '/' + rest}{more}"


def told_arguments(arguments: str) -> str:
    """Return a command line with the names of its arguments, and only the plainest values."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        return HIDDEN
    found = []
    is_secret = False
    for word in words:
        if word.startswith("-") and not _PLAIN_VALUE.fullmatch(word):
            name, equals, value = word.partition("=")
            is_secret = _is_secret(name)
            found.append(f"{name}={_told_word(value, is_secret)}" if equals else name)
        else:
            found.append(_told_word(word, is_secret))
    return " ".join(found)


def _is_secret(name: str) -> bool:
    words = re.split("[-_.]", name.lower())
    return bool(_SECRET_NAME.search(name)) or not _SECRET_WORDS.isdisjoint(words)


def _told_word(value: str, is_secret: bool) -> str:
    return value if not is_secret and _PLAIN_VALUE.fullmatch(value) else HIDDEN
