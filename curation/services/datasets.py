"""Data sets: made, given versions, frozen and discarded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.db.models.functions import Now
from django_q.tasks import async_task

from curation.models import Dataset, DatasetVersion, VersionState
from curation.services.gold_filter import GoldFilter
from curation.shapes import find_shape
from curation.splits import DEFAULT, read_splits
from jobs.models import Project
from jobs.services.audit import current_actor

NAME_MAX = 200
# How examples are kept together: what belongs to one group falls into one split.
GROUPS = {
    "prompt": "the same prompt",
    "alike": "prompts that are alike",
    "batch": "the same batch",
    "none": "each by itself",
}
CONTROL = "control"


class InvalidDataset(Exception):
    """A field cannot be as it was given; `field` names it, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class CannotFreeze(Exception):
    """The version may not be frozen as it is; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a version is made: which stars, how they are split, and what they are for."""

    stars: GoldFilter = field(default_factory=GoldFilter)
    splits: str = DEFAULT
    seed: int = 1
    group: str = "prompt"
    shape: str = "openai-sft"
    model: str = ""
    max_tokens: int | None = None
    min_rows: int = 10
    keep_cut: bool = False

    def kept(self) -> dict[str, Any]:
        return {**asdict(self), "stars": self.stars.named()}

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Plan:
        return cls(**{**kept, "stars": GoldFilter(**kept.get("stars", {}))})


def create_dataset(*, project: Project, name: str, description: str = "") -> Dataset:
    name = name.strip()
    if not name or len(name) > NAME_MAX or "\0" in name + description:
        raise InvalidDataset("name", f"give a name of 1 to {NAME_MAX} characters")
    actor = current_actor()
    try:
        with transaction.atomic():
            return Dataset.objects.create(
                project=project,
                name=name,
                description=description,
                created_by_name=actor.words[:200],
            )
    except IntegrityError as error:
        raise InvalidDataset(
            "name", f"the project has a data set named '{name}' already"
        ) from error


def create_version(*, dataset: Dataset, plan: Plan) -> DatasetVersion:
    """Make the next version, which is then built in the background; raises InvalidDataset."""
    check_plan(plan)
    with transaction.atomic():
        # Numbers are given in turn.
        held = Dataset.objects.select_for_update(no_key=True).get(pk=dataset.pk)
        last = held.versions.aggregate(last=Max("number"))["last"] or 0
        version = DatasetVersion.objects.create(
            dataset=held,
            number=last + 1,
            plan=plan.kept(),
            created_by_name=current_actor().words[:200],
        )
        transaction.on_commit(lambda: async_task("curation.tasks.build_versions", cluster=CONTROL))
    return version


def check_plan(plan: Plan) -> None:
    read_splits(plan.splits)
    shape = find_shape(plan.shape)
    if shape is None:
        raise InvalidDataset("shape", f"there is no shape '{plan.shape[:60]}'")
    if plan.group not in GROUPS:
        raise InvalidDataset("group", f"it must be one of {', '.join(GROUPS)}")
    if not 0 <= plan.seed < 2**31:
        raise InvalidDataset("seed", "it must be a whole number from 0 on")
    if plan.min_rows < 1:
        raise InvalidDataset("min_rows", "it must be 1 at least")
    if plan.max_tokens is not None and plan.max_tokens < 1:
        raise InvalidDataset("max_tokens", "it must be 1 at least")


def freeze_version(*, version: DatasetVersion, reason: str = "") -> DatasetVersion:
    """Freeze a draft for ever; CannotFreeze where leaks are known and no reason is given."""
    with transaction.atomic():
        held = DatasetVersion.objects.select_for_update(of=("self",)).get(pk=version.pk)
        if held.state == VersionState.FROZEN:
            return held
        if held.state != VersionState.DRAFT:
            raise CannotFreeze(f"The version is {held.state}: only a draft can be frozen.")
        blocks = blockers(held)
        reason = reason.strip()
        if blocks and not reason:
            raise CannotFreeze(
                f"{' '.join(blocks)} Mend it in a new version, or give the reason why it is right "
                "as it is."
            )
        if not held.rows:
            raise CannotFreeze("The version has no rows.")
        held.state = VersionState.FROZEN
        held.override_reason = reason[:2_000] if blocks else ""
        held.frozen_by_name = current_actor().words[:200]
        held.frozen_at = Now()
        held.save(update_fields=["state", "override_reason", "frozen_by_name", "frozen_at"])
        held.refresh_from_db()
        return held


def blockers(version: DatasetVersion) -> list[str]:
    """Return in sentences what stands against freezing a draft."""
    leaks = version.report.get("leaks", {})
    found = []
    if count := leaks.get("count", 0):
        found.append(
            f"{count:,} groups of equal or nearly equal prompts lie in more than one split."
        )
    empty = [name for name, rows in version.report.get("splits", {}).items() if not rows]
    if empty and version.rows:
        found.append(f"No row fell into {', '.join(sorted(empty))}.")
    if short := version.report.get("shortage"):
        found.append(str(short))
    return found


def discard_version(*, version: DatasetVersion) -> bool:
    """Delete a version that was never frozen; False if it was."""
    deleted, _ = (
        DatasetVersion.objects.filter(pk=version.pk).exclude(state=VersionState.FROZEN).delete()
    )
    return bool(deleted)
