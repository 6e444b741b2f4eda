"""Entering, changing and removing the models that are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from jobs.models import Batch, Lane, LaneModel, ServedModel
from jobs.services.audit import note_deed
from jobs.services.fleet import alive_since
from jobs.services.lanes import retry_now
from jobs.services.masking import Change, told
from jobs.states import LIVE_STATES, EngineState

# Where the answers come from; with another origin the name stands for another model.
ORIGIN = ("source", "upstream_url", "upstream_model")


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model as it stands now; `changes` is empty if it is new, or as it was."""

    model: ServedModel
    created: bool
    changes: Sequence[Change]

    @property
    def is_replaced(self) -> bool:
        return bool(_of_origin(self.changes))


class OtherOrigin(Exception):
    """A model of this name is there, and its answers come from elsewhere."""

    def __init__(self, changes: Sequence[Change]) -> None:
        super().__init__("the model has another origin")
        self.changes = changes


class StillNamed(Exception):
    """Live batches name the model; `batch_ids` are their public ids, oldest first."""

    def __init__(self, batch_ids: Sequence[str]) -> None:
        super().__init__(f"{len(batch_ids)} live batches name the model")
        self.batch_ids = batch_ids


def check_origin(*, name: str, **fields: Any) -> None:
    """Raise OtherOrigin if saving these fields would change where the answers come from."""
    model = ServedModel.objects.filter(name=name).first()
    if model is not None:
        _check_origin(_changes(model, fields))


def save_model(*, name: str, replace: bool = False, **fields: Any) -> SavedModel:
    """Enter a model, or change the one of this name; another origin only with `replace`.

    With another origin its engines are ended, and what they had not answered goes to new ones;
    else they keep what they were started with until they are next started. Where the model
    failed to load it is tried again at once: the change may be the remedy.
    """
    with transaction.atomic():
        _, created = ServedModel.objects.get_or_create(name=name, defaults=fields)
        # Locked, so that what is told as the old value is what was replaced.
        model = ServedModel.objects.select_for_update(no_key=True).get(name=name)
        changes = [] if created else _changes(model, fields)
        if created:
            given = [Change(field, None, value) for field, value in fields.items() if value]
            note_deed(action="model.create", target=name, changes=told(given))
        if not replace:
            _check_origin(changes)
        _apply(model, changes)
    return SavedModel(model, created, changes)


def change_model(*, model: ServedModel, **fields: Any) -> Sequence[Change]:
    """Give these fields of a model, its name among them, new values, whatever the origin."""
    with transaction.atomic():
        held = ServedModel.objects.select_for_update(no_key=True).get(pk=model.pk)
        changes = _changes(held, fields)
        _apply(held, changes)
    return changes


def _apply(model: ServedModel, changes: Sequence[Change]) -> None:
    """Make the changes and note them; the caller holds the model's row."""
    if not changes:
        return
    name = model.name
    if _of_origin(changes):
        # The supervisor ends an engine that holds no model that is there.
        Lane.objects.filter(engine_model=model).update(engine_model=None)
    for change in changes:
        setattr(model, change.field, change.new)
    model.save(update_fields=[change.field for change in changes])
    retry_now(known=LaneModel.objects.filter(model=model))
    others = [change for change in changes if change.field != "enabled"]
    if len(others) < len(changes):
        _note_switched(model)
    if others:
        note_deed(action="model.change", target=name, changes=told(others))


def _note_switched(model: ServedModel) -> None:
    note_deed(action="model.enable" if model.enabled else "model.disable", target=model.name)


def _changes(model: ServedModel, fields: Mapping[str, Any]) -> list[Change]:
    return [
        Change(field, old, new)
        for field, new in fields.items()
        if (old := getattr(model, field)) != new
    ]


def _check_origin(changes: Sequence[Change]) -> None:
    if _of_origin(changes):
        raise OtherOrigin(_of_origin(changes))


def _of_origin(changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if change.field in ORIGIN]


def disable_model(*, name: str) -> ServedModel:
    """Give out no more of a model's lines and take no new batches; ServedModel.DoesNotExist."""
    with transaction.atomic():
        model = ServedModel.objects.select_for_update(no_key=True).get(name=name)
        if model.enabled:
            model.enabled = False
            model.save(update_fields=["enabled"])
            _note_switched(model)
    return model


def remove_model(*, name: str) -> None:
    """Remove a model that no live batch names; StillNamed, or ServedModel.DoesNotExist.

    Batches that have ended keep its name and their answers. The lock keeps a batch that is just
    validated from taking it up: that one finds no model when it is validated again.
    """
    with transaction.atomic():
        model = ServedModel.objects.select_for_update().get(name=name)
        batch_ids = live_batches(model)
        if batch_ids:
            raise StillNamed(batch_ids)
        note_deed(action="model.remove", target=name)
        model.delete()


def live_batches(model: ServedModel) -> list[str]:
    """Return the public ids of the live batches that name a model, oldest first."""
    live = Batch.objects.filter(model=model, state__in=LIVE_STATES).order_by("pk")
    return list(live.values_list("public_id", flat=True))


@dataclass(frozen=True, slots=True)
class ModelStanding:
    """A model, the lanes whose engine holds it or is loading it, and those on which it failed."""

    model: ServedModel
    lanes: Sequence[Lane]
    failures: Sequence[LaneModel]


def list_models() -> list[ModelStanding]:
    """Return every model, by name, with how it stands on the lanes of workers that are alive."""
    holding: dict[int | None, list[Lane]] = {}
    lanes = Lane.objects.filter(
        active=True, worker__heartbeat_at__gte=alive_since(), worker__stopped_at=None
    )
    loaded = lanes.filter(engine_state__in=(EngineState.STARTING, EngineState.READY))
    for lane in loaded.select_related("worker").order_by("worker__name", "name"):
        holding.setdefault(lane.engine_model_id, []).append(lane)
    failed: dict[int, list[LaneModel]] = {}
    known = LaneModel.objects.filter(failures__gt=0, lane__active=True)
    for failure in known.select_related("lane__worker").order_by("-retry_at"):
        failed.setdefault(failure.model_id, []).append(failure)
    return [
        ModelStanding(model, holding.get(model.pk, []), failed.get(model.pk, []))
        for model in ServedModel.objects.order_by("name")
    ]


def find_model(name: str) -> ServedModel | None:
    """Return the enabled model that answers to `name`, its own or an alias."""
    enabled = ServedModel.objects.filter(enabled=True)
    return enabled.filter(name=name).first() or enabled.filter(aliases__contains=[name]).first()
