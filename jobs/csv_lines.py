"""A table (CSV) and a template of the messages, turned into the lines of an input file."""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, NamedTuple

from jobs.line_rules import custom_id_problem, short

ENDPOINT = "/v1/chat/completions"
DELIMITERS = ",;\t|"
# Longer than any cell that fits into a line, so that a quote that is never closed ends somewhere.
CELL_MAX = 16 * 1024 * 1024
# In a message. A row costs as much as its cells are named, even where they are empty.
PLACES_MAX = 1_000
_SAMPLE_BYTES = 16 * 1024
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}\n]+)\}")

# The reader's own limit is one for the process, and far too small.
csv.field_size_limit(CELL_MAX)


class TableFinding(NamedTuple):
    """One thing wrong with a table or its template; `line` is the line of the table's file."""

    message: str
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class Template:
    """What becomes of a row; `{column}` stands for a cell, doubled braces for themselves.

    With no `id_column`, a row is named by its number in the table, where the header is row 1.
    """

    model: str
    user: str
    system: str = ""
    id_column: str = ""
    more: dict[str, Any] = field(default_factory=dict)


class _Stop(Exception):
    """The rest of the table cannot be read."""


@dataclass(slots=True)
class TableReader:
    """Reads one table and yields a line for each row, until the first finding.

    From then on it only looks for more of them. A row takes the memory of its cells, and every
    row that of its id where a column holds it, so no more than `max_rows` are read. Complete at
    the end are `findings`, `hidden` (those beyond `max_findings`), `rows`, and `blank` (the empty
    rows that were left out).
    """

    template: Template
    max_rows: int
    max_findings: int
    max_line_bytes: int
    findings: list[TableFinding] = field(default_factory=list)
    hidden: int = 0
    rows: int = 0
    blank: int = 0
    _ids: dict[str, int] = field(default_factory=dict)
    _lines: int = 0

    def read(self, file: IO[bytes]) -> Iterator[bytes]:
        with contextlib.suppress(_Stop):
            yield from self._read(file)

    def _read(self, file: IO[bytes]) -> Iterator[bytes]:
        sample = file.read(_SAMPLE_BYTES)
        file.seek(0)
        self._check_is_text(sample)
        reader = csv.reader(self._text(file), delimiter=find_delimiter(sample), strict=True)
        header = [name.strip() for name in self._next(reader) or []]
        if not any(header):
            self._add("The table is empty: its first line must name the columns.", 1)
            raise _Stop
        places = self._places(header)
        user = self._compile(self.template.user, places, "user message")
        system = self._compile(self.template.system, places, "system message")
        if not any(isinstance(part, int) for part in user + system):
            example = short(next(iter(places)))
            self._add(f"The messages name no column: write {{{example}}} where its cell belongs.")
        id_at = self._id_column(places)
        number = 1
        while True:
            line = reader.line_num + 1
            row = self._next(reader)
            if row is None:
                break
            number += 1
            if not any(cell.strip() for cell in row):
                self.blank += 1
                continue
            self.rows += 1
            if self.rows > self.max_rows:
                self._add(f"The table has more than {self.max_rows:,} rows. Split it.", line)
                raise _Stop
            if len(row) != len(header):
                self._add(f"This row has {_cells(len(row))}; the header has {len(header):,}.", line)
                continue
            custom_id = f"row-{number}" if id_at is None else row[id_at].strip()
            if id_at is not None:
                self._check_id(custom_id, line)
            if not self.findings:
                yield self._line(custom_id, _filled(user, row), _filled(system, row))
        if not self.rows and not self.findings:
            self._add("The table has a header and no rows.")

    def _text(self, file: IO[bytes]) -> Iterator[str]:
        """Yield the lines of the file as text; one that is no UTF-8 is a finding."""
        while raw := file.readline(self.max_line_bytes + 1):
            self._lines += 1
            if len(raw) > self.max_line_bytes and not raw.endswith(b"\n"):
                limit = self.max_line_bytes
                self._add(f"This line is longer than {limit:,} bytes.", self._lines)
                raise _Stop
            if self._lines == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                self._add(
                    f"This line is not UTF-8 at byte {error.start + 1}. Save the table as UTF-8.",
                    self._lines,
                )
                yield raw.decode(errors="replace")

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
            self._add(f"The table cannot be read on from here: {words}.", start)
            raise _Stop from error
        return row

    def _check_is_text(self, sample: bytes) -> None:
        if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
            self._add("The table is in UTF-16. Save it as CSV in UTF-8.")
            raise _Stop
        if b"\0" in sample:
            self._add("This is not a text file. Save the table as CSV in UTF-8.")
            raise _Stop

    def _places(self, header: Sequence[str]) -> dict[str, int]:
        """Return where each column with a name stands; a name that stands twice is a finding."""
        places: dict[str, int] = {}
        twice: dict[str, None] = {}
        for place, name in enumerate(header):
            if name and places.setdefault(name, place) != place:
                twice[name] = None
        for name in twice:
            self._add(f"The column '{short(name)}' stands more than once in the header.", 1)
        return places

    def _compile(self, text: str, places: Mapping[str, int], what: str) -> list[str | int]:
        """Return the pieces of a template: text, and the places of columns in a row."""
        parts: list[str | int] = []
        unknown: dict[str, None] = {}
        end = 0
        for found in _PLACEHOLDER.finditer(text):
            parts.append(text[end : found.start()])
            end = found.end()
            if found[1] is None:
                parts.append(found[0][0])
            elif (name := found[1].strip()) in places:
                parts.append(places[name])
            else:
                unknown[name] = None
        for name in unknown:
            self._add(
                f"The {what} names {{{short(name)}}}, which is no column of the table: "
                f"{_listed(places)}. To write a brace itself, double it."
            )
        if sum(isinstance(part, int) for part in parts) > PLACES_MAX:
            self._add(f"The {what} names columns more than {PLACES_MAX:,} times.")
            raise _Stop
        return [part for part in [*parts, text[end:]] if part != ""]

    def _id_column(self, places: Mapping[str, int]) -> int | None:
        name = self.template.id_column.strip()
        if name and name not in places:
            self._add(
                f"The column '{short(name)}' for the custom_id is not in the table: "
                f"{_listed(places)}."
            )
        return places.get(name)

    def _check_id(self, custom_id: str, line: int) -> None:
        if not custom_id:
            self._add(f"The cell in '{self.template.id_column}', the custom_id, is empty.", line)
            return
        problem = custom_id_problem(custom_id)
        if problem is not None:
            self._add(problem.message, line)
            return
        first = self._ids.setdefault(custom_id, line)
        if first != line:
            self._add(f"The custom_id '{short(custom_id)}' stands on line {first:,} already.", line)

    def _line(self, custom_id: str, user: str, system: str) -> bytes:
        messages = [{"role": "system", "content": system}] if system.strip() else []
        messages.append({"role": "user", "content": user})
        body = {"model": self.template.model, "messages": messages, **self.template.more}
        line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"

    def _add(self, message: str, line: int | None = None) -> None:
        if len(self.findings) < self.max_findings:
            self.findings.append(TableFinding(message, line))
        else:
            self.hidden += 1


def find_delimiter(sample: bytes) -> str:
    """Return what stands between the cells: what stands most often in the header, outside quotes.

    The rows tell less: a table of one column has texts full of commas.
    """
    text = sample.decode(errors="replace").removeprefix("\ufeff")
    header = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    return max(DELIMITERS, key=header.count)


def _filled(parts: Sequence[str | int], row: Sequence[str]) -> str:
    return "".join(part if isinstance(part, str) else row[part] for part in parts)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count:,} cells"


def _listed(names: Collection[str]) -> str:
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return ", ".join(short(name) for name in islice(names, 20)) + more
