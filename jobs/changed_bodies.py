"""Bodies of requests with another model or other parameters, all else as it stood."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from jobs.lenient_json import decode_leniently

# What a request asks, and how it is answered: no parameter of the model.
FIXED = ("model", "messages", "prompt", "input", "stream")
PARAMETERS_MAX = 50
# How the endpoints name the limit of an answer; the first where a body names none.
_LIMITS = {
    "/v1/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/v1/completions": ("max_tokens",),
    "/v1/responses": ("max_output_tokens",),
}
_REMOVED = b"null"

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class BodyChange:
    """What is changed in each body.

    An empty `model` and a limit of None leave what there is. `parameters` are JSON texts by name;
    null takes a parameter out.
    """

    model: str = ""
    max_tokens: int | None = None
    parameters: Mapping[str, bytes] = field(default_factory=dict)

    def digest(self) -> bytes:
        parameters = {name: text.decode() for name, text in self.parameters.items()}
        named = [self.model, self.max_tokens, parameters]
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).digest()

    def names(self) -> list[str]:
        """Return the names of the parameters that are changed."""
        limit = [] if self.max_tokens is None else ["max_tokens"]
        return [*limit, *self.parameters]

    def words(self) -> str:
        """Say what is changed; empty if nothing is."""
        found = [f"model {self.model}"] if self.model else []
        if self.max_tokens is not None:
            found.append(f"at most {self.max_tokens:,} tokens")
        for name, text in self.parameters.items():
            found.append(f"no {name}" if text == _REMOVED else f"{name} {text.decode()}")
        return ", ".join(found)


def read_parameters(text: str) -> dict[str, bytes]:
    """Read a JSON object of parameters, each value as it was written.

    Raises ValueError, which says what is wrong with it.
    """
    try:
        # The lenient reader has the better words, and the strict one the texts of the values.
        value = decode_leniently(text.encode())
        if not isinstance(value, dict):
            raise ValueError('it is not a JSON object, as in {"top_p": 0.9}')
        found = {name: bytes(raw) for name, raw in _decode(text.encode()).items()}
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError("it is not valid JSON that can be kept") from error
    for name in found:
        if name in FIXED:
            raise ValueError(f"'{name}' cannot be changed here")
    if len(found) > PARAMETERS_MAX:
        raise ValueError(f"it has more than {PARAMETERS_MAX} parameters")
    return found


def takes_limit(endpoint: str) -> bool:
    """Say whether requests to this endpoint can limit the tokens of an answer."""
    return endpoint in _LIMITS


def change_body(body: bytes, change: BodyChange, *, endpoint: str) -> bytes:
    """Return the body with what is changed; what is not keeps its bytes.

    On one line, as a file of lines needs it.
    """
    try:
        fields: dict[str, Any] = dict(_decode(body))
        wanted: dict[str, Any] = {
            name: Raw(text) for name, text in _wanted(fields, change, endpoint)
        }
        made = _encode(_changed(fields, wanted))
    except (msgspec.DecodeError, UnicodeError):
        # Valid JSON that the strict decoder refuses, such as half a character pair.
        fields = json.loads(body)
        wanted = {name: json.loads(text) for name, text in _wanted(fields, change, endpoint)}
        made = json.dumps(_changed(fields, wanted)).encode()
    # Between values they are only space; in a text they stand escaped.
    return made.replace(b"\r", b" ").replace(b"\n", b" ")


def _wanted(
    fields: Mapping[str, Any], change: BodyChange, endpoint: str
) -> list[tuple[str, bytes]]:
    found: dict[str, bytes] = {}
    if change.model:
        found["model"] = _encode(change.model)
    if change.max_tokens is not None and endpoint in _LIMITS:
        names = _LIMITS[endpoint]
        for name in [name for name in names if name in fields] or names[:1]:
            found[name] = b"%d" % change.max_tokens
    return [*(found | dict(change.parameters)).items()]


def _changed(fields: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in wanted.items():
        if value is None or (isinstance(value, Raw) and bytes(value) == _REMOVED):
            fields.pop(name, None)
        else:
            fields[name] = value
    return fields
