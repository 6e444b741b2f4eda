"""Running lines of a batch anew, on another model or with other parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import structlog
from django.conf import settings
from django.db import transaction

from jobs.changed_bodies import BodyChange, change_body, takes_limit
from jobs.models import Batch, BatchRequest, StoredFile
from jobs.services.audit import note_deed
from jobs.services.batches import BatchOrder, create_batch, endpoints
from jobs.services.creating_once import find_created
from jobs.services.files import delete_file
from jobs.services.made_files import MadeTooLarge, create_from_lines
from jobs.services.served_models import find_model

log = structlog.get_logger()

# So many batches are made at once: each is a file to be written while somebody waits.
PARTS_MAX = 20
_SLICE = 500


class CannotRerun(Exception):
    """These lines cannot be run like that; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Lines of one batch, by the keys of their requests."""

    batch: Batch
    requests: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class RerunOrder:
    """What is asked for: the change to each line, and the priority of what is made."""

    change: BodyChange
    priority: int = 0

    def words(self, part: Part) -> str:
        changes = self.change.words()
        return f"re-run of {part.batch.public_id}{': ' if changes else ''}{changes}"

    def digest(self, part: Part) -> bytes:
        asked = hashlib.sha256(b"rerun %b" % part.batch.public_id.encode())
        asked.update(b" %d %b" % (self.priority, self.change.digest()))
        for request in sorted(part.requests):
            asked.update(b" %d" % request)
        return asked.digest()


def rerun_lines(*, parts: Sequence[Part], order: RerunOrder, token: str) -> list[Batch]:
    """Make a batch of the lines of each part, and set them to be validated: all, or none.

    Each has an input file of its own, keeps the custom_ids, and knows the batch of its lines as
    its parent. The same `token` gives the same batches again; IdempotencyConflict if something
    else is asked for with it. Raises CannotRerun, and LimitReached where a project may not have
    so much.
    """
    # In one order for everybody, since projects and batches are locked as they come.
    parts = sorted(parts, key=lambda part: (part.batch.project_id, part.batch.pk))
    check_rerun(parts=parts, order=order)
    known = _known(parts, order, token)
    if known is not None:
        return known
    stored: list[StoredFile] = []
    try:
        for part in parts:
            stored.append(_store(part, order.change))
        made = _create(parts, order, token, stored)
    except BaseException:
        for file in stored:
            delete_file(stored=file)
        raise
    used = {batch.input_file_public_id for batch in made}
    for file in stored:
        # Somebody pressed twice, and the other press was quicker.
        if file.public_id not in used:
            delete_file(stored=file)
    return made


def check_rerun(*, parts: Sequence[Part], order: RerunOrder) -> None:
    """Raise CannotRerun for what no validation need be waited for to say."""
    if not parts or not all(part.requests for part in parts):
        raise CannotRerun("There are no lines to run.")
    if len(parts) > PARTS_MAX:
        raise CannotRerun(
            f"These lines are of {len(parts):,} batches, and each would get one of its own: at "
            f"most {PARTS_MAX} are made at once. Narrow what is chosen."
        )
    total = sum(len(part.requests) for part in parts)
    if total > settings.MAX_LINES:
        raise CannotRerun(
            f"These are {total:,} lines; at most {settings.MAX_LINES:,} are run at once. Narrow "
            "what is chosen."
        )
    for part in parts:
        _check_part(part, order.change)


def _check_part(part: Part, change: BodyChange) -> None:
    batch = part.batch
    if batch.endpoint not in endpoints():
        raise CannotRerun(f"The endpoint '{batch.endpoint}' is not served any more.")
    name = change.model or batch.model_name
    if find_model(name) is None:
        wrong = f"The model '{name}' is not served"
        raise CannotRerun(f"{wrong}." if change.model else f"{wrong} any more. Choose another.")
    if change.max_tokens is not None and not takes_limit(batch.endpoint):
        raise CannotRerun(
            f"Requests to '{batch.endpoint}' have no limit of tokens: leave it as it was."
        )


def _known(parts: Sequence[Part], order: RerunOrder, token: str) -> list[Batch] | None:
    """Return what an earlier press of the same button made, before a file is written for it."""
    with transaction.atomic():
        found = [
            find_created(
                project=part.batch.project,
                digest=order.digest(part),
                idempotency_key=_key(token, part),
                is_repeat=False,
            )
            for part in parts
        ]
    made = [batch for batch in found if batch is not None]
    return made if len(made) == len(parts) else None


def _key(token: str, part: Part) -> str:
    return f"{token}-{part.batch.pk}"


def _store(part: Part, change: BodyChange) -> StoredFile:
    """Write the input file of a part, in no transaction."""
    name = part.batch.public_id

    def lines() -> Iterator[bytes]:
        count = 0
        for line in _lines(part, change):
            count += 1
            yield line
        if count != len(part.requests):
            raise CannotRerun(f"The batch '{name}' was deleted meanwhile.")

    try:
        return create_from_lines(
            project=part.batch.project, filename=f"rerun-of-{name}.jsonl", lines=lines()
        )
    except MadeTooLarge as error:
        limit = settings.MAX_FILE_BYTES
        raise CannotRerun(
            f"The lines of batch '{name}' are more than {limit:,} bytes. Narrow what is chosen."
        ) from error


def _lines(part: Part, change: BodyChange) -> Iterator[bytes]:
    """Yield the lines in the order of their first run; memory holds a slice of them."""
    batch = part.batch
    url = msgspec.json.encode(batch.endpoint)
    # Rows are made in the order of their positions.
    keys = sorted(part.requests)
    for start in range(0, len(keys), _SLICE):
        rows = BatchRequest.objects.filter(pk__in=keys[start : start + _SLICE], batch=batch)
        for custom_id, body in rows.order_by("position").values_list("custom_id", "body"):
            changed = change_body(bytes(body), change, endpoint=batch.endpoint)
            yield b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (
                msgspec.json.encode(custom_id),
                url,
                changed,
            )


@transaction.atomic
def _create(
    parts: Sequence[Part], order: RerunOrder, token: str, stored: Sequence[StoredFile]
) -> list[Batch]:
    made = []
    for part, file in zip(parts, stored, strict=True):
        batch = create_batch(
            project=part.batch.project,
            order=BatchOrder(
                endpoint=part.batch.endpoint,
                completion_window=part.batch.completion_window,
                input_file_id=file.public_id,
                metadata=part.batch.metadata,
                priority=order.priority,
                output_expires_after_s=part.batch.output_expires_after_s,
                request_order=part.batch.request_order,
                reuse_answers=part.batch.reuse_answers,
            ),
            idempotency_key=_key(token, part),
            digest=order.digest(part),
            reason=order.words(part),
        )
        if batch.input_file_public_id == file.public_id:
            _give_parent(batch, part, order)
        made.append(batch)
    return made


def _give_parent(made: Batch, part: Part, order: RerunOrder) -> None:
    # Locked, so that nobody deletes it between here and the end of the transaction.
    parent = Batch.objects.select_for_update(no_key=True).filter(pk=part.batch.pk).first()
    if parent is None:
        raise CannotRerun(f"The batch '{part.batch.public_id}' was deleted meanwhile.")
    Batch.objects.filter(pk=made.pk).update(parent=parent)
    made.parent = parent
    note_deed(
        action="batch.rerun",
        target=parent.public_id,
        project=parent.project,
        made=made.public_id,
        lines=len(part.requests),
        model=order.change.model,
        parameters=order.change.names(),
    )
    log.info("batch_rerun", batch=parent.public_id, made=made.public_id, lines=len(part.requests))
