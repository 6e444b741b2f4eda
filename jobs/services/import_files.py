"""The files of a batch that was answered elsewhere: read, and checked that they fit together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from django.conf import settings

from jobs.imported_lines import ResultLine, UnreadableResult, read_result
from jobs.jsonl import MORE_ERRORS, LineChecker
from jobs.line_rules import short
from jobs.services.request_rows import read_requests

MODEL_MAX = 200
# A line of an output file may be this long; an answer is far shorter, but for odd embeddings.
RESULT_LINE_MAX = 64 * 1024 * 1024
_NO_LIMIT = 2**31 - 1


class NotImportable(Exception):
    """The files do not fit; `findings` say what is wrong and where, `hidden` are not listed."""

    def __init__(self, findings: list[str], hidden: int = 0) -> None:
        super().__init__(f"{len(findings) + hidden} findings")
        self.findings = findings
        self.hidden = hidden


@dataclass(frozen=True, kw_only=True)
class ImportOrder:
    """What is to be imported; `model` is the name to list it under, if not that of the lines."""

    input: Path
    # The name that the input gets as a file of the project.
    input_name: str
    results: tuple[Path, ...]
    endpoint: str
    model: str | None = None
    created_at: datetime | None = None


# Told how many bytes more have been read; every file is read twice.
Progress = Callable[[int], None]


@dataclass(slots=True)
class Survey:
    """What the first reading of the files found; `places` tells positions by digest."""

    places: dict[bytes, int] = field(default_factory=dict)
    model: str = ""
    estimated_tokens: int = 0
    findings: list[str] = field(default_factory=list)
    hidden: int = 0

    @property
    def total(self) -> int:
        return len(self.places)

    def add(self, path: Path, line: int | None, message: str) -> None:
        if len(self.findings) >= settings.MAX_FINDINGS:
            self.hidden += 1
            return
        where = path.name if line is None else f"{path.name} line {line}"
        self.findings.append(f"{where}: {message}")

    def check(self) -> None:
        if self.findings:
            raise NotImportable(self.findings, self.hidden)


def survey_files(order: ImportOrder, progress: Progress) -> Survey:
    """Read all files once; NotImportable unless every line is in order and has its place."""
    survey = Survey()
    checker = input_checker(order)
    with order.input.open("rb") as file:
        for request in read_requests(Counted(file, progress), checker):
            survey.places[_digest(request.custom_id)] = request.position
    for found in checker.finish():
        if found["code"] != MORE_ERRORS:
            survey.add(order.input, found["line"], f"{found['message']} ({found['code']})")
    survey.hidden += checker.hidden
    survey.estimated_tokens = checker.estimated_tokens
    survey.model = order.model or checker.model or ""
    if len(survey.model) > MODEL_MAX or not survey.model.isprintable():
        message = f"The model's name must have at most {MODEL_MAX} printable characters."
        survey.add(order.input, None, message)
    # With lines missing here, results would be called unknown that are not.
    survey.check()
    for _ in read_results(order, survey, progress):
        pass
    survey.check()
    return survey


def input_checker(order: ImportOrder) -> LineChecker:
    """Return what checks the input: as for a create, but for limits and the models served here."""
    return LineChecker(
        endpoint=order.endpoint,
        models=None,
        one_model=order.model is None,
        max_lines=_NO_LIMIT,
        max_inputs=_NO_LIMIT,
        max_findings=settings.MAX_FINDINGS,
    )


def read_results(
    order: ImportOrder, survey: Survey, progress: Progress
) -> Iterator[tuple[int, ResultLine]]:
    """Yield the results with their positions; what has no place is a finding of the survey."""
    seen = bytearray(survey.total)
    for path in order.results:
        with path.open("rb") as file:
            for number, raw in _lines(path, Counted(file, progress), survey):
                try:
                    result = read_result(raw)
                except UnreadableResult as error:
                    survey.add(path, number, f"This line is no result: {error}.")
                    continue
                position = survey.places.get(_digest(result.custom_id))
                name = short(result.custom_id)
                if position is None:
                    survey.add(path, number, f"The custom_id '{name}' is not in the input.")
                elif seen[position]:
                    survey.add(path, number, f"The custom_id '{name}' has a result already.")
                else:
                    seen[position] = 1
                    yield position, result


def _lines(path: Path, file: Counted, survey: Survey) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    number = 0
    while raw := file.readline(RESULT_LINE_MAX + 1):
        number += 1
        if len(raw) > RESULT_LINE_MAX and not raw.endswith(b"\n"):
            survey.add(path, number, f"This line is longer than {RESULT_LINE_MAX:,} bytes.")
            while (rest := file.readline(RESULT_LINE_MAX)) and not rest.endswith(b"\n"):
                pass
            continue
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.strip()
        if raw:
            yield number, raw


class Counted:
    """A file that is read by lines, and tells how much has been read."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file = file
        self._progress = progress

    def readline(self, limit: int) -> bytes:
        raw = self._file.readline(limit)
        self._progress(len(raw))
        return raw


def _digest(custom_id: str) -> bytes:
    return hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=12).digest()
