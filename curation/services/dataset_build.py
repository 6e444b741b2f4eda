"""Building a version: stars copied, checked, split, and looked through for leaks."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from curation.conversations import NotAnExample
from curation.examples import Example, read_example
from curation.leaks import count_alike, count_values, find_leaks
from curation.models import DatasetReject, DatasetRow, DatasetVersion, GoldStar, VersionState
from curation.near_duplicates import find_clusters
from curation.preflight import Preflight, Target, histogram, shortage
from curation.services.datasets import Plan
from curation.services.token_counts import token_counter
from curation.shapes import find_shape
from curation.splits import read_splits, split_of

log = structlog.get_logger()

LEASE = timedelta(seconds=60)
STARS_AT_ONCE = 200
ROWS_AT_ONCE = 500
_COPIED = (
    "public_id",
    "batch_public_id",
    "custom_id",
    "model_name",
    "request_body",
    "response_body",
    "prompt_sha256",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "answered_at",
    "provenance",
    "quality_score",
    "tags",
    "notes",
    "edited_answer",
)


class Superseded(Exception):
    """Another run has taken the work over, or the version was discarded."""


def anything_to_build() -> bool:
    """Say whether a version waits, or was left by a run that died."""
    return bool(_due().exists())


def build_due_versions() -> int:
    """Build each version that is due; return how many were."""
    done = 0
    while (version := _claim()) is not None:
        done += 1
        try:
            build_version(version=version)
        except Superseded:
            log.info("version_superseded", version=str(version))
        except Exception as error:
            _held(version).update(
                state=VersionState.FAILED, error=f"{type(error).__name__}: {error}"
            )
            log.exception("version_failed", version=str(version))
    return done


def build_version(*, version: DatasetVersion) -> None:
    """Fill a version that was claimed. May be killed anywhere: the next run begins anew."""
    plan = Plan.of(version.plan)
    _clear(version)
    kept, texts, lengths = _copy(version, plan)
    clusters = find_clusters(texts, tick=lambda: _beat(version))
    splits = read_splits(plan.splits)
    placed = [
        split_of(_group(plan, row, kept[clusters[at]]), seed=plan.seed, splits=splits)
        for at, row in enumerate(kept)
    ]
    _place(version, kept, placed)
    report = {
        "splits": {one.name: placed.count(one.name) for one in splits},
        "leaks": find_leaks(kept, placed, clusters),
        "alike": count_alike(clusters),
        "models": count_values(row["model_name"] for row in kept),
        "rejects": count_values(
            version.reject_set.values_list("code", flat=True).iterator(chunk_size=2_000)
        ),
        "lengths": histogram(lengths),
        "longest": max(lengths, default=0),
        "tokens": sum(lengths),
        "counted": token_counter(plan.model)[1],
        "shortage": shortage(len(kept), _target(plan)),
        "edited": sum(row["edited"] for row in kept),
    }
    changed = _held(version).update(
        state=VersionState.DRAFT,
        report=report,
        rows=len(kept),
        sha256=content_hash(version),
        error="",
    )
    if not changed:
        raise Superseded
    log.info("version_built", version=str(version), rows=len(kept))


def content_hash(version: DatasetVersion) -> str:
    """Return the SHA-256 of all rows: their order, splits and contents."""
    found = hashlib.sha256()
    rows = DatasetRow.objects.filter(version=version).order_by("position")
    columns = rows.values_list("position", "split", "digest")
    for position, split, digest in columns.iterator(chunk_size=5_000):
        found.update(b"%d %b %b\n" % (position, split.encode(), bytes(digest)))
    return found.hexdigest()


def row_digest(row: Any) -> bytes:
    """Return the SHA-256 of a row's content."""
    facts = [
        getattr(row, name)
        for name in _COPIED
        if name not in ("request_body", "response_body", "prompt_sha256", "answered_at")
    ]
    found = hashlib.sha256(msgspec.json.encode(facts, order="deterministic"))
    for body in (row.request_body, row.response_body):
        found.update(hashlib.sha256(bytes(body)).digest())
    return found.digest()


# --- Claiming ----------------------------------------------------------------------------------
def _due() -> Any:
    return DatasetVersion.objects.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), state=VersionState.BUILDING
    )


def _claim() -> DatasetVersion | None:
    with transaction.atomic():
        found: DatasetVersion | None = (
            _due().select_for_update(skip_locked=True, of=("self",)).order_by("pk").first()
        )
        if found is None:
            return None
        DatasetVersion.objects.filter(pk=found.pk).update(
            attempt=F("attempt") + 1, lease_until=Now() + LEASE, progress=0
        )
        found.refresh_from_db()
        return found


def _held(version: DatasetVersion) -> Any:
    return DatasetVersion.objects.filter(
        pk=version.pk, attempt=version.attempt, state=VersionState.BUILDING
    )


def _beat(version: DatasetVersion, **more: Any) -> None:
    if not _held(version).update(lease_until=Now() + LEASE, **more):
        raise Superseded


# --- Copying -----------------------------------------------------------------------------------
def _clear(version: DatasetVersion) -> None:
    DatasetRow.objects.filter(version=version).delete()
    DatasetReject.objects.filter(version=version).delete()


def _target(plan: Plan) -> Target:
    shape = find_shape(plan.shape)
    assert shape is not None
    return Target(
        shape=shape,
        count=token_counter(plan.model)[0],
        max_tokens=plan.max_tokens,
        min_rows=plan.min_rows,
        keep_cut=plan.keep_cut,
    )


def _copy(version: DatasetVersion, plan: Plan) -> tuple[list[dict[str, Any]], list[str], list[int]]:
    """Copy the stars that are fit; return facts of each row, its prompt's text, its tokens."""
    preflight = Preflight(_target(plan))
    kept: list[dict[str, Any]] = []
    texts: list[str] = []
    lengths: list[int] = []
    read = 0
    for stars in _slices(version, plan):
        rows, rejects = [], []
        for star in stars:
            try:
                example = read_example(star)
                tokens = preflight.check(example)
            except NotAnExample as error:
                rejects.append(_reject(version, star, error))
                continue
            row = _row(version, star, position=len(kept))
            rows.append(row)
            kept.append(_facts(row, example))
            texts.append(example.prompt_text)
            lengths.append(tokens)
        DatasetRow.objects.bulk_create(rows)
        DatasetReject.objects.bulk_create(rejects)
        read += len(stars)
        _beat(version, progress=read)
    return kept, texts, lengths


def _slices(version: DatasetVersion, plan: Plan) -> Iterator[list[GoldStar]]:
    """Yield the stars in slices, oldest first; those that come meanwhile are of the next one."""
    stars = plan.stars.apply(GoldStar.objects.filter(project=version.dataset.project_id))
    stars = stars.filter(created_at__lte=version.created_at)
    last = 0
    while found := list(stars.filter(pk__gt=last).order_by("pk")[:STARS_AT_ONCE]):
        last = found[-1].pk
        yield found


def _row(version: DatasetVersion, star: GoldStar, *, position: int) -> DatasetRow:
    row = DatasetRow(
        version=version,
        position=position,
        # Until all prompts are known, and with them their groups.
        split="",
        **{name: getattr(star, name) for name in _COPIED},
    )
    row.digest = row_digest(row)
    return row


def _facts(row: DatasetRow, example: Example) -> dict[str, Any]:
    return {
        "position": row.position,
        "id": row.public_id,
        "custom_id": row.custom_id,
        "batch": row.batch_public_id,
        "model_name": row.model_name,
        "prompt": bytes(row.prompt_sha256).hex(),
        "edited": example.is_edited,
    }


def _reject(version: DatasetVersion, star: GoldStar, error: NotAnExample) -> DatasetReject:
    return DatasetReject(
        version=version,
        public_id=star.public_id,
        batch_public_id=star.batch_public_id,
        custom_id=star.custom_id,
        code=error.code,
        reason=str(error),
    )


# --- Splitting, and what lies in two splits ------------------------------------------------------
def _group(plan: Plan, row: dict[str, Any], first_alike: dict[str, Any]) -> str:
    """Return what keeps a row together with others, in this version as in later ones."""
    if plan.group == "batch":
        return str(row["batch"])
    if plan.group == "none":
        return str(row["id"])
    return str((first_alike if plan.group == "alike" else row)["prompt"])


def _place(version: DatasetVersion, kept: list[dict[str, Any]], placed: list[str]) -> None:
    by_split: dict[str, list[int]] = defaultdict(list)
    for row, split in zip(kept, placed, strict=True):
        by_split[split].append(row["position"])
    rows = DatasetRow.objects.filter(version=version)
    for split, positions in by_split.items():
        for at in range(0, len(positions), 5_000):
            rows.filter(position__in=positions[at : at + 5_000]).update(split=split)
        _beat(version)
