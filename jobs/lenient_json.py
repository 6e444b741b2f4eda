"""Reading JSON as people and engines write it, some of which a strict decoder refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def check_utf8(raw: bytes) -> None:
    """Raise UnicodeDecodeError where `raw` is not UTF-8: a decoder looks only at what it reads."""
    if not raw.isascii():
        raw.decode()


def read_object(raw: bytes, strict: Callable[[bytes], T]) -> T | dict[str, Any]:
    """Decode an object by `strict`, a decoder of msgspec's; into a dict where that refuses it.

    Raises ValueError, which says what the text is instead: "not valid JSON: ..." and so on.
    """
    try:
        check_utf8(raw)
        return strict(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # Not JSON, or of another shape: the slow reader tells which.
    try:
        value = decode_leniently(raw)
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def decode_leniently(raw: bytes) -> Any:
    """Decode JSON that a strict decoder refuses: half a character pair is valid JSON by its
    grammar, and people's files hold it. Raises ValueError, which says why, where it is not JSON
    at all.
    """
    try:
        # From bytes, `json` would also take UTF-16 and a byte order mark, which no line can hold.
        return json.loads(raw.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        # Its own words name a line as well: always 1, beside the number of the line in its file.
        what = error.msg.removesuffix(" at")
        raise ValueError(f"{what} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")
