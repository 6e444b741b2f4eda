"""Schemas and patterns that anybody may write, compiled so that no answer keeps them busy.

Both are run by jsonschema-rs with an engine for patterns that needs linear time, as it knows no
look-around and no back-references. A schema takes time in proportion to the answer, since what it
comes to with all references written out is bounded, and none may lead back to itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import unquote

import jsonschema_rs

from jobs.prompts import is_storable

PATTERN_MAX = 1_000
SCHEMA_BYTES_MAX = 64 * 1024
# Subschemas, each as often as it is referred to.
EXPANDED_MAX = 10_000
_COMPILED_BYTES_MAX = 1024 * 1024
_PATTERNS = jsonschema_rs.RegexOptions(
    size_limit=_COMPILED_BYTES_MAX, dfa_size_limit=_COMPILED_BYTES_MAX
)
# Later drafts say more with the same words; draft 4 names schemas by `id`, as data does.
_DRAFTS = ("draft-06", "draft-07", "2019-09", "2020-12")
# These lead to places that depend on where one came from.
_MOVING = ("$dynamicRef", "$recursiveRef")


class InvalidSchema(ValueError):
    """The schema or pattern is none, or not one that is run here; the message says why."""


def compile_pattern(pattern: str) -> jsonschema_rs.Validator:
    """Return what says of a text whether the pattern is found in it; raises InvalidSchema."""
    if not 1 <= len(pattern) <= PATTERN_MAX or not is_storable(pattern):
        raise InvalidSchema(
            f"A pattern has 1 to {PATTERN_MAX:,} characters, no NUL and no half of a pair."
        )
    try:
        return jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=_PATTERNS)
    except ValueError as error:
        raise InvalidSchema(
            "The pattern cannot be run: it is no regular expression, is too large, or has "
            "look-around or back-references, which linear time does not allow."
        ) from error


def compile_schema(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    """Return what says of a decoded answer whether it follows the schema; raises InvalidSchema."""
    try:
        _Expansion(schema).check()
        text = json.dumps(schema, allow_nan=False, ensure_ascii=False)
        if len(text.encode()) > SCHEMA_BYTES_MAX:
            raise InvalidSchema(f"The schema is larger than {SCHEMA_BYTES_MAX // 1024} KiB.")
        return jsonschema_rs.validator_for(
            text, pattern_options=_PATTERNS, retriever=_retrieve_nothing
        )
    except RecursionError as error:
        raise InvalidSchema("The schema is nested too deep.") from error
    except InvalidSchema:
        raise
    except ValueError as error:
        first = str(error).split("\n", 1)[0]
        raise InvalidSchema(f"This is no JSON schema that can be run: {first[:200]}") from error


def _retrieve_nothing(address: str) -> NoReturn:
    raise ValueError(f"{address} is not fetched")


class _Expansion:
    """How many subschemas a schema has once each reference stands for what it names."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self.sizes: dict[int, int] = {}
        self.within: set[int] = set()

    def check(self) -> None:
        draft = self.schema.get("$schema", _DRAFTS[-1])
        if not isinstance(draft, str) or not any(one in draft for one in _DRAFTS):
            raise InvalidSchema("'$schema' must be a draft from 6 to 2020-12.")
        if self.size_of(self.schema) > EXPANDED_MAX:
            raise InvalidSchema(
                f"With its references written out the schema has more than {EXPANDED_MAX:,} parts."
            )

    def size_of(self, node: Any) -> int:
        if isinstance(node, str) and not is_storable(node):
            raise InvalidSchema("The schema holds a NUL or half of a character pair.")
        if not isinstance(node, Mapping | list | tuple):
            return 1
        known = self.sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in self.within:
            raise InvalidSchema("The schema refers to itself; write out the levels that you need.")
        self.within.add(id(node))
        size = 1
        if isinstance(node, Mapping):
            size += sum(self.size_of(key) for key in node)
            size += self.referred(node)
        for child in node.values() if isinstance(node, Mapping) else node:
            size += self.size_of(child)
        self.within.discard(id(node))
        # Large enough to be refused; more digits serve nobody.
        self.sizes[id(node)] = min(size, EXPANDED_MAX + 1)
        return self.sizes[id(node)]

    def referred(self, node: Mapping[str, Any]) -> int:
        """Return the size of what a subschema refers to."""
        if any(isinstance(node.get(name), str) for name in _MOVING):
            raise InvalidSchema(f"{' and '.join(_MOVING)} are not supported; use '$ref'.")
        if node is not self.schema and isinstance(node.get("$id"), str):
            raise InvalidSchema("'$id' may stand at the root of the schema only.")
        reference = node.get("$ref")
        if not isinstance(reference, str):
            return 0
        if reference != "#" and not reference.startswith("#/"):
            raise InvalidSchema(
                f"'{reference[:80]}' is no reference within the schema, such as #/$defs/name."
            )
        target: Any = self.schema
        for part in reference.split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(name)] if isinstance(target, list) else target[name]
            except (LookupError, TypeError, ValueError) as error:
                raise InvalidSchema(
                    f"'{reference[:80]}' refers to nothing in the schema."
                ) from error
        return self.size_of(target)
