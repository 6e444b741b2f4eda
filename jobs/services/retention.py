"""All that goes by itself: what was deleted, what expired, and what was kept for long enough."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import structlog
from django.utils import timezone

from jobs.services.due import Scope
from jobs.services.old_files import OldFiles
from jobs.services.old_rows import OLD_ROWS, OldIdempotencyKeys
from jobs.services.old_uploads import OldUploads
from jobs.services.orphans import BrokenUploads, OrphanObjects
from jobs.services.purging import DueBatches
from jobs.services.slices import Pace, Tally

log = structlog.get_logger()

# On S3 each folder costs a request, so the sweep that runs each minute looks into one of them.
FOLDERS_PER_SWEEP = 1


class Remains(Protocol):
    """One kind of things that go: what a run would remove, and the removing, slice by slice.

    Whoever stops listening, or is killed, leaves the rest for the next run.
    """

    def measure(self, scope: Scope) -> Tally: ...

    def remove(self, scope: Scope, pace: Pace) -> Iterator[Tally]: ...


def remains(*, folders: int | None = None) -> Sequence[Remains]:
    """Return every kind, in the order of removing."""
    return (
        DueBatches(),
        OldFiles(),
        OldUploads(),
        OldIdempotencyKeys(),
        *OLD_ROWS,
        BrokenUploads(),
        OrphanObjects(folders=folders),
    )


def measure_all(scope: Scope) -> Tally:
    """Return what `remove_all` would remove."""
    tally = Tally()
    for kind in remains():
        tally.merge(kind.measure(scope))
    return tally


def remove_all(scope: Scope, *, pace: Pace) -> Iterator[Tally]:
    """Remove all that is due, and give what each slice took."""
    for kind in remains():
        yield from kind.remove(scope, pace)


def sweep(*, within_s: float) -> Tally:
    """Remove what is due for about `within_s` seconds, each kind for its share of them.

    A kind that fails, since the storage is away, say, does not keep the others from going.
    """
    scope = Scope(now=timezone.now())
    pace = Pace()
    removed = Tally()
    ends_at = time.monotonic() + within_s
    # Batches last: they may want all the time that is left.
    kinds = remains(folders=FOLDERS_PER_SWEEP)[::-1]
    for left, kind in zip(range(len(kinds), 0, -1), kinds, strict=True):
        share_ends_at = time.monotonic() + max(0.0, ends_at - time.monotonic()) / left
        try:
            for tally in kind.remove(scope, pace):
                removed.merge(tally)
                if time.monotonic() > share_ends_at:
                    break
        except Exception:
            log.exception("sweep_failed", kind=type(kind).__name__)
    if removed.count:
        log.info("swept", **{name: one.count for name, one in removed.amounts.items()})
    return removed
