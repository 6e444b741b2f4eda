"""The file of an export: one shape, each split in its order, with what is known beside it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from curation.examples import Example
from curation.models import DatasetRow, DatasetVersion, Export, VersionState
from curation.services.dataset_build import row_digest
from curation.services.gold_export import read_examples
from curation.shapes import Reject, Shape, Tally, find_shape
from curation.shapes.parquet import write_parquet
from curation.shapes.table import rejects_table
from curation.splits import read_splits

PARQUET = "parquet"
ROWS_AT_ONCE = 250
BEAT_ROWS = 2_500
# In a zip, so that the same files give the same bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_COPY_BYTES = 1 << 20


class Altered(Exception):
    """A row is not what it was when the version was made."""


class ExportWriter:
    """Writes one export into a folder of its own; `beat` is told how many rows were read."""

    def __init__(self, export: Export, folder: Path, beat: Callable[[int], None]) -> None:
        self.export = export
        self.folder = folder
        self._beat = beat
        self.read = 0
        self.written = 0
        self.rejects: list[Reject] = []

    def examples(self, split: str, tally: Tally) -> Iterator[Example]:
        for example in version_examples(
            self.export.version, split, tally, lambda: self._beat(self.read)
        ):
            self.read += 1
            yield example

    def write(self) -> tuple[Path, str]:
        """Return the file, and the name under which it is downloaded."""
        export = self.export
        stem = f"{_slug(export.version.dataset.name)}-v{export.version.number}-{export.shape}"
        if export.shape == PARQUET:
            return self._write_parquet(), f"{stem}.zip"
        shape = find_shape(export.shape)
        assert shape is not None
        if export.split:
            path = self.folder / f"rows.{shape.extension}"
            with path.open("wb") as file:
                self._write_split(shape, export.split, file)
            return path, f"{stem}-{export.split}.{shape.extension}"
        return self._write_zip(shape), f"{stem}.zip"

    def _write_split(self, shape: Shape, split: str, file: IO[bytes]) -> int:
        tally = Tally()
        for piece in shape.write(self.examples(split, tally), tally):
            file.write(piece)
        self.rejects += tally.rejects
        self.written += tally.rows
        return tally.rows

    def _write_zip(self, shape: Shape) -> Path:
        path = self.folder / "rows.zip"
        rows: dict[str, int] = {}
        with zipfile.ZipFile(path, "w") as packed:
            for split in _splits(self.export.version):
                part = self.folder / "part"
                with part.open("wb") as file:
                    rows[split] = self._write_split(shape, split, file)
                if rows[split]:  # A reader refuses a split of no rows.
                    self._add(packed, part, f"{split}.{shape.extension}")
            self._add_sidecars(packed, rows)
        return path

    def _add(self, packed: zipfile.ZipFile, file: Path, name: str) -> None:
        with (
            file.open("rb") as source,
            packed.open(_entry(name), "w", force_zip64=True) as target,
        ):
            shutil.copyfileobj(source, target, _COPY_BYTES)

    def _write_parquet(self) -> Path:
        version = self.export.version
        folder = self.folder / "set"
        tallies = {split: Tally() for split in _splits(version)}
        examples = {split: self.examples(split, tally) for split, tally in tallies.items()}
        written = write_parquet(
            folder, splits=examples, name=version.dataset.name, about=_about(version)
        )
        for tally in (*tallies.values(), *written.values()):
            self.rejects += tally.rejects
            self.written += tally.rows
        path = self.folder / "rows.zip"
        with zipfile.ZipFile(path, "w") as packed:
            for file in sorted(one for one in folder.rglob("*") if one.is_file()):
                self._add(packed, file, file.relative_to(folder).as_posix())
            self._add_sidecars(packed, {name: tally.rows for name, tally in written.items()})
        return path

    def _add_sidecars(self, packed: zipfile.ZipFile, rows: dict[str, int]) -> None:
        version = self.export.version
        manifest = {
            "dataset": version.dataset.name,
            "version": version.number,
            "sha256": version.sha256,
            "frozen": version.state == VersionState.FROZEN,
            "shape": self.export.shape,
            "plan": version.plan,
            "rows": rows,
            "rejected": len(self.rejects),
        }
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
        packed.writestr(_entry("manifest.json"), text.encode())
        table = b"".join(rejects_table(self.rejects))
        packed.writestr(_entry("rejects.csv"), table)


def version_examples(
    version: DatasetVersion, split: str, tally: Tally, beat: Callable[[], None]
) -> Iterator[Example]:
    """Yield the examples of a split in their order; of an empty name, all of them.

    Each row is compared with its digest: Altered if it is another one by now.
    """
    return read_examples(_rows(version, split, beat), tally)


def _rows(version: DatasetVersion, split: str, beat: Callable[[], None]) -> Iterator[Any]:
    rows = DatasetRow.objects.filter(version=version).order_by("position")
    if split:
        rows = rows.filter(split=split)
    last, read = -1, 0
    while found := list(rows.filter(position__gt=last)[:ROWS_AT_ONCE]):
        last = found[-1].position
        for row in found:
            if row_digest(row) != bytes(row.digest):
                raise Altered(f"Row {row.position} is not what it was when the version was made.")
            yield row
        read += len(found)
        if read % BEAT_ROWS < ROWS_AT_ONCE:
            beat()


def _splits(version: DatasetVersion) -> list[str]:
    return [one.name for one in read_splits(version.plan["splits"])]


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _slug(name: str) -> str:
    plain = "".join(one if one.isalnum() and one.isascii() else "-" for one in name.lower())
    return "-".join(part for part in plain.split("-") if part)[:60] or "data-set"


def _about(version: DatasetVersion) -> str:
    return (
        f"{version.dataset.description}\n\nVersion {version.number}, content SHA-256 "
        f"`{version.sha256}`. Made by vbatch from gold stars: answers that people rated, and "
        "partly edited. `messages` is the whole conversation, `prompt` and `completion` its two "
        "parts, `original_completion` the answer before an edit; tools and provenance are JSON."
    ).strip()
