"""Ratings and gold stars as people write them, in JSONL and in CSV, read line by line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec

from curation.shapes.table import plain_cell
from jobs.csv_lines import find_delimiter
from jobs.lenient_json import read_object
from jobs.line_rules import short
from jobs.prompts import is_storable

FIELDS = ("quality_score", "tags", "notes", "edited_answer")
NAMES = ("response_id", "batch_id", "custom_id")
# What results are downloaded with.
_ALIASES = {"rating": "quality_score"}
_SAMPLE_BYTES = 16 * 1024
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}(\.0{1,9})?")
# So many columns that were not read are told.
IGNORED_MAX = 50

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class UnreadableStars(Exception):
    """The file cannot be read to its end, so nothing of it is taken; the message says why."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, kw_only=True)
class StarLine:
    """One line that says something of an answer.

    It names the answer by `response_id`, by `batch_id` and `custom_id`, or by all three; an empty
    text is none. `fields` holds what is said, not checked yet; what is not said is not there.
    """

    line: int
    response_id: str
    batch_id: str
    custom_id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A line that cannot be taken; `named` is what it calls the answer, as far as that is known."""

    line: int
    message: str
    named: str = ""


@dataclass(slots=True)
class StarReader:
    """Reads one file, and yields each of its lines that says something, or why it cannot be read.

    `line` is the number of the line in the file, from 1. At the end, `total` (the rows that are
    not blank) is the number of what was yielded plus `silent` (rows that say nothing of an answer,
    such as those of a table that nobody rated). `blank` are the empty rows, `ignored` the columns
    that are not read. `batch_id` is that of rows which name none. Raises UnreadableStars where
    what follows cannot be told apart.
    """

    max_rows: int
    max_line_bytes: int
    batch_id: str = ""
    total: int = 0
    silent: int = 0
    blank: int = 0
    ignored: dict[str, None] = field(default_factory=dict)
    _lines: int = 0

    def read(self, file: IO[bytes]) -> Iterator[StarLine | Refusal]:
        """Read a table where the file does not begin like an object of JSON."""
        sample = file.read(_SAMPLE_BYTES)
        file.seek(0)
        if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UnreadableStars("The file is in UTF-16. Save it in UTF-8.")
        start = sample.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start.startswith(b"["):
            raise UnreadableStars(
                "The file is one list of JSON. Write each of its objects on a line of its own.", 1
            )
        yield from (
            self._read_objects(file) if start.startswith(b"{") else self._read_table(file, sample)
        )
        if not self.total:
            raise UnreadableStars("The file holds no rows.")

    # --- JSONL ---------------------------------------------------------------------------------
    def _read_objects(self, file: IO[bytes]) -> Iterator[StarLine | Refusal]:
        for raw in self._raw_lines(file):
            line = self._lines
            if raw is None:
                self._count(line)
                yield Refusal(line=line, message=self._too_long())
                continue
            raw = raw.strip()
            if not raw:
                self.blank += 1
                continue
            self._count(line)
            try:
                row = read_object(raw, _decode)
            except ValueError as error:
                yield Refusal(line=line, message=f"This line is {error}.")
                continue
            yield from self._said(line, row)

    def _said(self, line: int, row: Mapping[str, Any]) -> Iterator[StarLine | Refusal]:
        found: dict[str, Any] = {}
        for key, value in row.items():
            name = _column(key)
            if name not in FIELDS and name not in NAMES:
                self._ignore(key)
            elif value is not None and name in found:
                named = _named(row)
                yield Refusal(line=line, message=f"It gives '{name}' twice.", named=named)
                return
            elif value is not None:
                found[name] = value
        gold = row.get("gold")
        # As results and raw exports carry what was said already.
        if isinstance(gold, dict) and not any(name in found for name in FIELDS):
            self.ignored.pop("gold", None)
            found |= {name: gold[name] for name in FIELDS if gold.get(name) is not None}
        for name in NAMES:
            if not isinstance(found.setdefault(name, ""), str):
                named = _named(row)
                yield Refusal(line=line, message=f"Its '{name}' is not a text.", named=named)
                return
        yield from self._take(line, found)

    # --- CSV -----------------------------------------------------------------------------------
    def _read_table(self, file: IO[bytes], sample: bytes) -> Iterator[StarLine | Refusal]:
        if b"\0" in sample:
            raise UnreadableStars("This is not a text file. Save the table as CSV in UTF-8.")
        reader = csv.reader(self._text(file), delimiter=find_delimiter(sample), strict=True)
        header = self._next(reader) or []
        columns = self._columns(header)
        while True:
            line = reader.line_num + 1
            row = self._next(reader)
            if row is None:
                return
            if not any(cell.strip() for cell in row):
                self.blank += 1
                continue
            self._count(line)
            cells = {name: plain_cell(row[at]) for name, at in columns.items() if at < len(row)}
            named = _named(cells)
            if len(row) != len(header):
                words = f"This row has {len(row):,} cells; the header has {len(header):,}."
                yield Refusal(line=line, message=words, named=named)
            elif any("\ud800" <= char <= "\udfff" for cell in cells.values() for char in cell):
                words = "This row is not UTF-8. Save the table as UTF-8."
                yield Refusal(line=line, message=words, named=named)
            else:
                yield from self._take(line, {n: c for n, c in cells.items() if c.strip()})

    def _columns(self, header: Sequence[str]) -> dict[str, int]:
        places: dict[str, int] = {}
        for at, cell in enumerate(header):
            name = _column(cell)
            if name not in FIELDS and name not in NAMES:
                self._ignore(cell)
            elif places.setdefault(name, at) != at:
                raise UnreadableStars(f"The header names '{name}' twice.", 1)
        if not any(name in places for name in FIELDS):
            raise UnreadableStars(
                f"The first line must name the columns: one of {', '.join(FIELDS)} at least.", 1
            )
        batch = "batch_id" in places or self.batch_id
        if "response_id" not in places and not (batch and "custom_id" in places):
            raise UnreadableStars(
                "The header names no answers: it needs a column response_id, or the columns "
                "batch_id and custom_id.",
                1,
            )
        return places

    def _text(self, file: IO[bytes]) -> Iterator[str]:
        for raw in self._raw_lines(file):
            if raw is None:
                raise UnreadableStars(self._too_long(), self._lines)
            # Bytes that are no UTF-8 become halves of pairs, by which their row is known.
            yield raw.decode(errors="surrogateescape")

    def _next(self, reader: Any) -> list[str] | None:
        start = reader.line_num + 1
        try:
            row: list[str] | None = next(reader, None)
        except csv.Error as error:
            words = str(error)
            if "field larger" in words or "unexpected end" in words:
                words = "a quote that is opened here or below is never closed"
            elif "new-line character" in words:
                words = "its lines end with a carriage return alone; save it with line feeds"
            raise UnreadableStars(
                f"The table cannot be read on from here: {words}.", start
            ) from error
        return row

    # --- Both ----------------------------------------------------------------------------------
    def _raw_lines(self, file: IO[bytes]) -> Iterator[bytes | None]:
        """Yield each line of the file with its end; None for one that is too long."""
        while raw := file.readline(self.max_line_bytes + 1):
            self._lines += 1
            if self._lines == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if len(raw) <= self.max_line_bytes or raw.endswith(b"\n"):
                yield raw
                continue
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(self.max_line_bytes)
            yield None

    def _take(self, line: int, found: Mapping[str, Any]) -> Iterator[StarLine | Refusal]:
        fields = {name: _READ[name](found[name]) for name in FIELDS if name in found}
        if not fields:
            self.silent += 1
            return
        names = {name: str(found.get(name, "")).strip() for name in NAMES}
        if not names["response_id"]:
            names["batch_id"] = names["batch_id"] or self.batch_id
        named = names["custom_id"] or names["response_id"]
        if any(not is_storable(value) for value in names.values()):
            words = "What it calls the answer holds a NUL or half of a character pair."
            yield Refusal(line=line, message=words, named=named)
        elif not names["response_id"] and not (names["batch_id"] and names["custom_id"]):
            words = "It names no answer: give response_id, or batch_id and custom_id."
            yield Refusal(line=line, message=words, named=named)
        else:
            yield StarLine(line=line, fields=fields, **names)

    def _count(self, line: int) -> None:
        self.total += 1
        if self.total > self.max_rows:
            raise UnreadableStars(f"The file has more than {self.max_rows:,} rows. Split it.", line)

    def _ignore(self, name: str) -> None:
        if name.strip() and len(self.ignored) < IGNORED_MAX:
            self.ignored[short(name.strip())] = None

    def _too_long(self) -> str:
        return f"This line is longer than {self.max_line_bytes:,} bytes."


def _column(name: str) -> str:
    plain = name.strip().lower().replace(" ", "_")
    return _ALIASES.get(plain, plain)


def _named(row: Mapping[str, Any]) -> str:
    for name in ("custom_id", "response_id"):
        if isinstance(row.get(name), str) and row[name].strip():
            return str(row[name]).strip()
    return ""


def _score(value: Any) -> Any:
    """Return a whole number as one: tables with gaps are saved with 8.0 for 8."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e9:
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return value


def _tags(value: Any) -> Any:
    """Return the tags of a text: a list of JSON, as exports write them, or commas between."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list):
            return found
    return [tag.strip() for tag in value.split(",") if tag.strip()]


def _same(value: Any) -> Any:
    return value


_READ = {"quality_score": _score, "tags": _tags, "notes": _same, "edited_answer": _same}
