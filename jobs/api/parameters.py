"""Reading what a client sent, field by field, and refusing it in OpenAI's words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from jobs.api.errors import ApiError
from jobs.prompts import is_storable

_ECHO_MAX = 100


class Parameters:
    """The fields of a query, a form or a JSON object.

    Values of a query or a form are all text, so numbers are read from it (`typed=False`).
    """

    def __init__(self, values: Mapping[str, Any], *, typed: bool = True, prefix: str = "") -> None:
        self.values = values
        self.typed = typed
        self.prefix = prefix

    def refuse_unknown(self, known: Collection[str]) -> None:
        for name in self.values:
            if name not in known:
                raise ApiError(
                    f"Unknown parameter: '{self._name(echo(name))}'. "
                    f"Known are: {', '.join(sorted(known))}.",
                    code="unknown_parameter",
                    param=self._name(echo(name)),
                )

    def text(self, name: str, *, max_length: int, required: bool = False) -> str | None:
        value = self.values.get(name)
        if value is None:
            if required:
                raise self.missing(name)
            return None
        if not isinstance(value, str):
            raise self.wrong_type(name, "a string", value)
        if not value:
            raise ApiError(
                f"Invalid '{self._name(name)}': it must not be empty.",
                code="empty_string",
                param=self._name(name),
            )
        return self.checked(name, value, max_length=max_length)

    def checked(self, name: str, value: str, *, max_length: int) -> str:
        """Return a text that is not too long and that the database can keep."""
        if len(value) > max_length:
            raise ApiError(
                f"Invalid '{self._name(name)}': string too long. Expected a string with maximum "
                f"length {max_length}, but got a string with length {len(value)} instead.",
                code="string_above_max_length",
                param=self._name(name),
            )
        if not is_storable(value):
            raise self.invalid(name, "it holds a NUL or half of a character pair")
        return value

    def choice(self, name: str, allowed: Collection[str], *, required: bool = False) -> str | None:
        value = self.text(name, max_length=10_000, required=required)
        if value is None or value in allowed:
            return value
        raise ApiError(
            f"Invalid value for '{self._name(name)}': '{echo(value)}'. "
            f"Supported values are: {', '.join(repr(one) for one in allowed)}.",
            code="invalid_value",
            param=self._name(name),
        )

    def integer(self, name: str, *, low: int, high: int, required: bool = False) -> int | None:
        value = self.values.get(name)
        if value is None:
            if required:
                raise self.missing(name)
            return None
        if not self.typed and re.fullmatch(r"-?[0-9]{1,19}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong_type(name, "an integer", value)
        if not low <= value <= high:
            over = value > high
            side = "above maximum" if over else "below minimum"
            raise ApiError(
                f"Invalid '{self._name(name)}': integer {side} value. "
                f"Expected a value {f'<= {high}' if over else f'>= {low}'} instead.",
                code="integer_above_max_value" if over else "integer_below_min_value",
                param=self._name(name),
            )
        return value

    def boolean(self, name: str) -> bool | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong_type(name, "a boolean", value)
        return value

    def texts(self, name: str, *, max_items: int, max_length: int) -> list[str]:
        """Return a list of texts, which must be there and hold one at least."""
        values = self.values.get(name)
        if values is None:
            raise self.missing(name)
        if not isinstance(values, list):
            raise self.wrong_type(name, "an array", values)
        if not 1 <= len(values) <= max_items:
            side = "below_min" if not values else "above_max"
            raise ApiError(
                f"Invalid '{self._name(name)}': expected an array with 1 to {max_items} items, "
                f"but got {len(values)}.",
                code=f"array_{side}_length",
                param=self._name(name),
            )
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self.wrong_type(f"{name}[{index}]", "a string", value)
            self.checked(f"{name}[{index}]", value, max_length=max_length)
        return values

    def record(self, name: str) -> Parameters | None:
        """Return an object inside this one."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong_type(name, "an object", value)
        return Parameters(value, typed=self.typed, prefix=self._name(name))

    def missing(self, name: str) -> ApiError:
        return ApiError(
            f"Missing required parameter: '{self._name(name)}'.",
            code="missing_required_parameter",
            param=self._name(name),
        )

    def invalid(self, name: str, why: str) -> ApiError:
        return ApiError(
            f"Invalid value for '{self._name(name)}': {why}.",
            code="invalid_value",
            param=self._name(name),
        )

    def wrong_type(self, name: str, wanted: str, value: Any) -> ApiError:
        return ApiError(
            f"Invalid type for '{self._name(name)}': expected {wanted}, "
            f"but got {_kind(value)} instead.",
            code="invalid_type",
            param=self._name(name),
        )

    def _name(self, name: str) -> str:
        return f"{self.prefix}.{name}" if self.prefix else name


def echo(text: str) -> str:
    """Return a client's text, shortened, as it can stand in a message."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _ECHO_MAX else f"{text[: _ECHO_MAX - 3]}..."


def _kind(value: Any) -> str:
    for kind, name in (
        (bool, "a boolean"),
        (int, "an integer"),
        (float, "a decimal number"),
        (str, "a string"),
        (list, "an array"),
        (dict, "an object"),
    ):
        if isinstance(value, kind):
            return name
    return "null"
