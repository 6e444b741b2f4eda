"""Entering workloads, and writing their requests into input files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import IntegrityError, transaction

from benchmarks.models import Workload
from benchmarks.workloads import SHIPPED, workload_hash
from jobs.changed_bodies import BodyChange, change_body
from jobs.models import Batch, Project, StoredFile
from jobs.services.audit import note_deed
from jobs.services.files import delete_file
from jobs.services.made_files import MadeTooLarge, create_from_lines
from jobs.services.stored_bytes import open_bytes

NAME_MAX = 100
_SLICE = 500
# What only keeps repeats from knowing one another: no part of what is asked.
SALT = "cache_salt"

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class InvalidWorkload(Exception):
    """There is no such workload, or it cannot be made; the message says why."""


def find_workload(*, project: Project, name: str, requests: int | None = None) -> Workload:
    """Return a workload by its id, or by its name; a shipped one in the size that is asked for.

    Raises InvalidWorkload.
    """
    own = Workload.objects.filter(project=project)
    found = own.filter(public_id=name).first() or own.filter(name=name, version=0).first()
    if found is None:
        return enter_shipped(project=project, name=name, requests=requests)
    if requests is not None and requests != found.requests:
        raise InvalidWorkload(
            f"The workload '{found.name}' is your own and has {found.requests:,} requests, as it "
            "was made: leave their number out."
        )
    return found


def enter_shipped(*, project: Project, name: str, requests: int | None = None) -> Workload:
    """Return the workload of that name and size, entered if it was not; InvalidWorkload."""
    shipped = SHIPPED.get(name)
    if shipped is None:
        raise InvalidWorkload(
            f"There is no workload '{name}'. These are shipped: {', '.join(sorted(SHIPPED))}; "
            "one of your own is made of a batch."
        )
    count = shipped.default_requests if requests is None else requests
    if not 1 <= count <= settings.MAX_LINES:
        raise InvalidWorkload(f"A workload has 1 to {settings.MAX_LINES:,} requests.")
    found, _ = Workload.objects.get_or_create(
        project=project,
        name=shipped.name,
        version=shipped.version,
        requests=count,
        defaults={
            "endpoint": shipped.endpoint,
            "sha256": bytes.fromhex(workload_hash(shipped.lines(model="", requests=count))),
        },
    )
    return found


def create_workload(*, project: Project, name: str, batch: Batch) -> Workload:
    """Make a workload of the lines of a batch; a copy, which outlives the batch.

    Raises InvalidWorkload, and StorageFull where the project has no room for it.
    """
    if not name or len(name) > NAME_MAX or name in SHIPPED:
        raise InvalidWorkload(
            f"A workload of your own has a name of 1 to {NAME_MAX} characters that is not one "
            "of a shipped workload."
        )
    if not batch.requests.exists():
        raise InvalidWorkload("This batch has no lines: its input was not accepted.")
    rows = batch.requests.order_by("position").values_list("custom_id", "body")
    # Twice over the rows: neither the lines nor their digest need memory for all of them.
    asked = ({"body": json.loads(bytes(body))} for _, body in rows.iterator(chunk_size=_SLICE))
    digest = bytes.fromhex(workload_hash(asked))
    lines = (
        _line(custom_id, batch.endpoint, bytes(body))
        for custom_id, body in rows.iterator(chunk_size=_SLICE)
    )
    stored = _store(project, f"{name}.jsonl", lines)
    try:
        with transaction.atomic():
            # Kept until somebody deletes it: a workload is there to be run again.
            StoredFile.objects.filter(pk=stored.pk).update(expires_at=None)
            made = Workload.objects.create(
                project=project,
                name=name,
                endpoint=batch.endpoint,
                requests=batch.total,
                sha256=digest,
                source_batch=batch,
                input_file=stored,
            )
            note_deed(
                action="workload.create",
                target=made.public_id,
                project=project,
                name=name,
                batch=batch.public_id,
            )
    except IntegrityError as error:
        delete_file(stored=stored)
        raise InvalidWorkload(
            f"There is a workload '{name}' with {batch.total:,} requests already."
        ) from error
    return made


def shipped_checks(workload: Workload) -> Sequence[Mapping[str, Any]]:
    """Return what the answers of a shipped workload are good for, as checks."""
    return SHIPPED[workload.name].checks if workload.is_shipped else ()


def create_input(
    *, workload: Workload, model_name: str, repeat: int, salt: str, requests: int | None = None
) -> StoredFile:
    """Write the requests of a workload for a model into an input file; the first few, if told.

    Each repeat has its own `salt` where the engine takes one, so that none finds the prefix cache
    filled by the one before. Raises InvalidWorkload where the lines of one's own are gone.
    """
    change = BodyChange(
        model=model_name, parameters={SALT: msgspec.json.encode(salt)} if salt else {}
    )
    name = f"{workload.name}-{repeat}.jsonl"
    return _store(workload.project, name, islice(_requests(workload, change), requests))


def write_lines(*, workload: Workload, model_name: str, path: Path) -> None:
    """Write the requests of a workload for a model into a file of one's own."""
    with path.open("wb") as file:
        file.writelines(_requests(workload, BodyChange(model=model_name)))


def _requests(workload: Workload, change: BodyChange) -> Iterator[bytes]:
    for custom_id, body in _bodies(workload):
        changed = change_body(body, change, endpoint=workload.endpoint)
        yield _line(custom_id, workload.endpoint, changed)


def _bodies(workload: Workload) -> Iterator[tuple[str, bytes]]:
    if workload.is_shipped:
        shipped = SHIPPED.get(workload.name)
        if shipped is None or shipped.version != workload.version:
            raise InvalidWorkload(
                f"{workload.title} is not shipped any more: this release has another version, "
                "with which nothing is compared."
            )
        for line in shipped.lines(model="", requests=workload.requests):
            yield line["custom_id"], json.dumps(line["body"]).encode()
        return
    stored = workload.input_file
    if stored is None or stored.deleted_at is not None:
        raise InvalidWorkload(f"The file with the lines of {workload.title} was deleted.")
    with open_bytes(stored.paths) as file:
        while raw := file.readline():
            envelope = _decode(raw)
            yield msgspec.json.decode(envelope["custom_id"]), bytes(envelope["body"])


def _store(project: Project, name: str, lines: Iterable[bytes]) -> StoredFile:
    try:
        return create_from_lines(project=project, filename=name, lines=lines)
    except MadeTooLarge as error:
        raise InvalidWorkload(f"{error} Choose fewer requests.") from error


def _line(custom_id: str, endpoint: str, body: bytes) -> bytes:
    envelope: dict[str, Any] = {
        "custom_id": custom_id,
        "method": "POST",
        "url": endpoint,
        "body": msgspec.Raw(body.replace(b"\r", b" ").replace(b"\n", b" ")),
    }
    return msgspec.json.encode(envelope) + b"\n"
