"""The file that `submitbatch` sends: a look at it, and another model written into its lines."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class NotABatchFile(Exception):
    """The file is not JSONL in the form of a batch; the message says why."""


def first_request(path: Path) -> dict[str, Any]:
    """Return the first line that is not blank; NotABatchFile if it is no request."""
    try:
        with path.open("rb") as file:
            raw = next((one for one in file if one.strip()), b"")
    except OSError as error:
        raise NotABatchFile(f"Cannot read {path}: {error.strerror}.") from error
    if not raw:
        raise NotABatchFile(f"{path} holds no requests.")
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise NotABatchFile(f"The first line of {path} is not JSON: {error}.") from error
    if not isinstance(value, dict) or not {"custom_id", "body"} <= set(value):
        raise NotABatchFile(
            f"{path} is not in the form of a batch. Each line must look like this: "
            '{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {...}}'
        )
    return value


@contextmanager
def opened(path: Path, *, model: str | None) -> Iterator[IO[bytes]]:
    """Open the file for sending, with `model` in the body of each line if one is given.

    Lines keep their place, also those that are not JSON, so that the server's findings name
    the lines of the user's own file.
    """
    if model is None:
        with path.open("rb") as file:
            yield file
        return
    with path.open("rb") as file, tempfile.TemporaryFile() as changed:
        for raw in file:
            changed.write(_with_model(raw, model))
        changed.seek(0)
        yield changed


def _with_model(raw: bytes, model: str) -> bytes:
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except ValueError:
        return raw  # The server says what is wrong with it.
    if not isinstance(value, dict) or not isinstance(value.get("body"), dict):
        return raw
    value["body"]["model"] = model
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def sent_name(path: Path) -> str:
    """Return the name under which the file is sent; the server wants it to end in .jsonl."""
    return path.name if path.suffix.lower() == ".jsonl" else f"{path.name}.jsonl"
