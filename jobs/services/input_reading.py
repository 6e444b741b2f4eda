"""Reading an input file as a batch of it would be read, before there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from django.conf import settings
from django.db import transaction
from msgspec import UNSET

from jobs.jsonl import Finding, LineChecker
from jobs.line_rules import ENDPOINTS, Problem, UnreadableLine, read_body, read_envelope
from jobs.models import ServedModel, StoredFile
from jobs.prompts import prompt_text
from jobs.services.batches import endpoints
from jobs.services.limits import QueueFull, claim_queue
from jobs.services.request_rows import read_requests
from jobs.services.stored_bytes import open_bytes

ROWS_SHOWN = 5
# Of a prompt or of a line that cannot be read.
CHARS_SHOWN = 400
_SKIPPED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class FirstRow:
    """One of the first lines as a person reads it; `raw` where it is no request."""

    line: int
    custom_id: str = ""
    model: str = ""
    prompt: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that lines name, how many of them do, and whether it is served."""

    name: str
    lines: int
    served: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds; with no findings, a batch of it would be accepted now."""

    endpoint: str
    first_rows: list[FirstRow]
    findings: list[Finding]
    total: int
    estimated_tokens: int
    models: list[NamedModel]


def make_checker(*, endpoint: str, tells_equals: bool = False) -> LineChecker:
    """Return the checker of a file for `endpoint`, with what is served and allowed now."""
    return LineChecker(
        endpoint=endpoint,
        models=names_of_models(),
        max_lines=settings.MAX_LINES,
        max_inputs=settings.MAX_EMBEDDING_INPUTS,
        max_findings=settings.MAX_FINDINGS,
        tells_equals=tells_equals,
    )


def names_of_models() -> set[str]:
    """Return the names by which models are served, aliases too."""
    names: set[str] = set()
    for model in ServedModel.objects.filter(enabled=True):
        names.update([model.name, *model.aliases])
    return names


def read_input(*, stored: StoredFile) -> Reading:
    """Read a file whole, with the findings that a batch of it would get now.

    Its endpoint is that of its first line that names one. Nothing is written. Raises OSError where
    the bytes cannot be had just now.
    """
    with open_bytes(stored.paths) as file:
        endpoint, rows = _look(file)
    checker = make_checker(endpoint=endpoint)
    with open_bytes(stored.paths) as file:
        for _ in read_requests(file, checker):
            pass
    if not checker.finish():
        _check_queue(stored, checker)
    return Reading(
        endpoint=endpoint,
        first_rows=rows,
        findings=checker.finish(),
        total=checker.total,
        estimated_tokens=checker.estimated_tokens,
        models=[
            NamedModel(name, lines, name in (checker.models or ()))
            for name, lines in sorted(checker.named.items(), key=lambda one: -one[1])
        ],
    )


def _look(file: IO[bytes]) -> tuple[str, list[FirstRow]]:
    """Return the endpoint that the file is for, and its first rows."""
    rows: list[FirstRow] = []
    endpoint = ""
    for line in range(1, _SKIPPED_MAX):
        raw = file.readline(settings.MAX_LINE_BYTES + 1)
        if not raw or len(rows) == ROWS_SHOWN or len(raw) > settings.MAX_LINE_BYTES:
            break
        raw = (raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw).strip()
        if not raw:
            continue
        url, row = _first_row(raw, line)
        rows.append(row)
        if not endpoint and url in endpoints():
            endpoint = url
    return endpoint or ENDPOINTS[0], rows


def _first_row(raw: bytes, line: int) -> tuple[str, FirstRow]:
    try:
        envelope = read_envelope(raw)
    except UnreadableLine:
        return "", FirstRow(line, raw=_shown(raw[: 4 * CHARS_SHOWN].decode(errors="replace")))
    body = read_body(b"" if envelope.body is UNSET else bytes(envelope.body))
    url = envelope.url if isinstance(envelope.url, str) else ""
    custom_id = envelope.custom_id if isinstance(envelope.custom_id, str) else ""
    if isinstance(body, Problem):
        return url, FirstRow(line, _shown(custom_id))
    given = [one for one in (body.messages, body.prompt, body.input) if one is not UNSET]
    try:
        text = prompt_text(given[0]) if given else ""
    except RecursionError:
        text = ""
    model = body.model if isinstance(body.model, str) else ""
    return url, FirstRow(line, _shown(custom_id), _shown(model), _shown(text))


def _shown(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= CHARS_SHOWN else f"{text[:CHARS_SHOWN]}…"


def _check_queue(stored: StoredFile, checker: LineChecker) -> None:
    """Note that the queue has no room; nothing is taken of it, since no line is made to wait."""
    try:
        with transaction.atomic():
            claim_queue(
                project=stored.project, requests=checker.total, tokens=checker.estimated_tokens
            )
    except QueueFull as error:
        checker.add(error.code, str(error))
