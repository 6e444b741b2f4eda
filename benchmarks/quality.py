"""What an answer can be checked for, one answer at a time and without asking a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import msgspec

from benchmarks.schemas import InvalidSchema, compile_pattern, compile_schema
from jobs.prompts import is_storable

TEXT_MAX = 10_000
_REASON_MAX = 200
_SHOWN_MAX = 60


class InvalidCheck(ValueError):
    """There is no such check, or it cannot be made like that; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that answers must be; `words` complete "The answer ...".

    `why_not(text, expected)` says what is wrong with an answer, in a sentence, empty if nothing
    is. Only `gold` looks at what is expected.
    """

    kind: str
    words: str
    why_not: Callable[[str, str], str]

    def passes(self, text: str, *, expected: str = "") -> bool:
        return not self.why_not(text, expected)


def make_check(check: Mapping[str, Any]) -> Check:
    """Return the check that `{"kind": ..., ...}` asks for; raises InvalidCheck.

    | kind | its fields | the answer passes if |
    | --- | --- | --- |
    | `json` | | it is JSON, with nothing around it |
    | `json_schema` | `schema` | it is JSON that follows the schema |
    | `contains` | `text`, `ignore_case` | the text stands in it |
    | `regex` | `pattern` | the pattern is found in it |
    | `exact` | `text` | it is the text, but for white space around it |
    | `gold` | | it equals the gold answer, but for white space |
    """
    kind = check.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidCheck(
            f"The 'kind' of a check must be judge, or one of {', '.join(_KINDS)}, not "
            f"{str(kind)[:80]!r}."
        )
    make, fields = _KINDS[kind]
    unknown = sorted(set(check) - {"kind", *fields})
    if unknown:
        raise InvalidCheck(f"A check of kind '{kind}' has no field '{unknown[0][:80]}'.")
    try:
        return make(check)
    except InvalidSchema as error:
        raise InvalidCheck(str(error)) from error


def _make_json(_check: Mapping[str, Any]) -> Check:
    return Check(kind="json", words="is JSON", why_not=lambda text, _: _decoded(text)[1])


def _make_schema(check: Mapping[str, Any]) -> Check:
    schema = check.get("schema")
    if not isinstance(schema, Mapping):
        raise InvalidCheck("A check of kind 'json_schema' needs an object 'schema'.")
    validator = compile_schema(schema)

    def why_not(text: str, _expected: str) -> str:
        value, wrong = _decoded(text)
        if wrong:
            return wrong
        try:
            # Stops at the first fault: of a long answer all of them may take minutes.
            validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            place = "".join(f"[{part!r}]" for part in error.instance_path)
            return f"{f'At {place}: ' if place else ''}{error.message}"[:_REASON_MAX]
        except ValueError as error:
            return f"It cannot be checked: {error}"[:_REASON_MAX]
        return ""

    return Check(kind="json_schema", words="is JSON that follows its schema", why_not=why_not)


def _make_contains(check: Mapping[str, Any]) -> Check:
    wanted = _text(check)
    ignore_case = check.get("ignore_case", False)
    if not isinstance(ignore_case, bool):
        raise InvalidCheck("'ignore_case' must be true or false.")

    def why_not(text: str, _expected: str) -> str:
        found = wanted.casefold() in text.casefold() if ignore_case else wanted in text
        return "" if found else "The text is not in it."

    return Check(kind="contains", words=f"contains {_shown(wanted)}", why_not=why_not)


def _make_regex(check: Mapping[str, Any]) -> Check:
    pattern = check.get("pattern")
    if not isinstance(pattern, str):
        raise InvalidCheck("A check of kind 'regex' needs a string 'pattern'.")
    validator = compile_pattern(pattern)

    def why_not(text: str, _expected: str) -> str:
        return "" if validator.is_valid(text) else "The pattern is not found in it."

    return Check(kind="regex", words=f"matches {_shown(pattern)}", why_not=why_not)


def _make_exact(check: Mapping[str, Any]) -> Check:
    wanted = _text(check).strip()

    def why_not(text: str, _expected: str) -> str:
        return "" if text.strip() == wanted else "It is another text."

    return Check(kind="exact", words=f"is {_shown(wanted)}", why_not=why_not)


def _make_gold(_check: Mapping[str, Any]) -> Check:
    def why_not(text: str, expected: str) -> str:
        return "" if text.split() == expected.split() else "It differs from the gold answer."

    return Check(kind="gold", words="equals the gold answer", why_not=why_not)


_KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], Check], tuple[str, ...]]] = {
    "json": (_make_json, ()),
    "json_schema": (_make_schema, ("schema",)),
    "contains": (_make_contains, ("text", "ignore_case")),
    "regex": (_make_regex, ("pattern",)),
    "exact": (_make_exact, ("text",)),
    "gold": (_make_gold, ()),
}
KINDS = tuple(_KINDS)


def _text(check: Mapping[str, Any]) -> str:
    text = check.get("text")
    if not isinstance(text, str) or not 1 <= len(text) <= TEXT_MAX or not is_storable(text):
        raise InvalidCheck(
            f"A check of kind '{check['kind']}' needs a 'text' of 1 to {TEXT_MAX:,} characters, "
            "without NUL or half of a character pair."
        )
    return text


def _decoded(text: str) -> tuple[Any, str]:
    """Return what a JSON text says, or None and why it is no JSON."""
    try:
        return msgspec.json.decode(text), ""
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        return None, f"It is not JSON: {error}"[:_REASON_MAX]
    except RecursionError:
        return None, "It is not JSON that can be read: it is nested too deep."


def _shown(text: str) -> str:
    one_line = " ".join(text.split())
    short = one_line if len(one_line) <= _SHOWN_MAX else f"{one_line[: _SHOWN_MAX - 3]}..."
    return f'"{short}"'
