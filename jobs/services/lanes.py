"""Lanes: calling their tasks, and the two-sided record of what their engine does."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

from jobs.models import Lane, LaneModel, ServedModel
from jobs.services.chunks import release_lane
from jobs.services.fleet import alive_since
from jobs.states import EngineState, LaneKind

# A lane task says each second that it is at work; silent for longer, it is taken for dead.
TASK_STALE_AFTER_S = 5.0
# A call that was not answered in this time is repeated.
KICK_AGAIN_AFTER_S = 5.0
RETRY_MIN_S = 5.0
RETRY_MAX_S = 300.0


def kick_lanes(model: ServedModel) -> None:
    """Call the lanes that could work for `model`."""
    lanes = Lane.objects.filter(
        active=True,
        worker__heartbeat_at__gte=alive_since(),
        worker__stopped_at=None,
        worker__draining=False,
    )
    if model.is_upstream:
        lanes = lanes.filter(kind=LaneKind.UPSTREAM)
    else:
        lanes = lanes.exclude(kind=LaneKind.UPSTREAM)
    for lane in lanes:
        kick_lane(lane)


def silent_lanes(lane_ids: Collection[int]) -> list[Lane]:
    """Return those of the lanes whose task is not at work, and which were not called just now."""
    return list(Lane.objects.filter(_may_be_called(), pk__in=lane_ids).order_by("pk"))


def kick_lane(lane: Lane) -> bool:
    """Call the lane's task, unless it is at work or was just called; True if it was called."""
    called = Lane.objects.filter(_may_be_called(), pk=lane.pk).update(kicked_at=Now())
    if not called:
        return False
    async_task(
        "jobs.tasks.run_lane",
        lane.pk,
        cluster=lane.queue,
        q_options={"timeout": -1, "ack_failure": True, "save": False},
    )
    return True


def _may_be_called() -> Q:
    # By the database's clock, in which the task says that it is at work: with a host's own, a
    # clock that is slow would keep a silent lane from being called.
    return Q(
        Q(kicked_at=None) | Q(kicked_at__lt=Now() - timedelta(seconds=KICK_AGAIN_AFTER_S)),
        Q(task_seen_at=None) | Q(task_seen_at__lt=Now() - timedelta(seconds=TASK_STALE_AFTER_S)),
    )


def forget_task(*, lane_id: int) -> None:
    """Note that the lane's task is gone, since its cluster was restarted, and its calls with it.

    A call that a killed cluster had taken up would come again after a day, one for each kill.
    What the task held is open at once, and need not wait for its lease to run out.
    """
    Lane.objects.filter(pk=lane_id).update(task_seen_at=None, task_token="", kicked_at=None)
    OrmQ.objects.filter(key__in=Lane.objects.filter(pk=lane_id).values("queue")).delete()
    release_lane(lane_id=lane_id)


def start_task(*, lane_id: int) -> str | None:
    """Enter the lane's task as the one at work; None if another one is."""
    token = secrets.token_hex(8)
    stale = Now() - timedelta(seconds=TASK_STALE_AFTER_S)
    entered = Lane.objects.filter(
        Q(task_seen_at=None) | Q(task_seen_at__lt=stale), pk=lane_id, active=True
    ).update(task_seen_at=Now(), task_token=token, kicked_at=None)
    if not entered:
        return None
    # Of a task before this one, or claimed with an answer that was lost with the database.
    release_lane(lane_id=lane_id)
    return token


def keep_task(*, lane_id: int, token: str) -> bool:
    """Say that the task is at work; False if another one has taken its place."""
    return bool(Lane.objects.filter(pk=lane_id, task_token=token).update(task_seen_at=Now()))


def end_task(*, lane_id: int, token: str) -> None:
    """Note that the task has ended, and give back what it could not give back itself."""
    if Lane.objects.filter(pk=lane_id, task_token=token).update(task_seen_at=None, task_token=""):
        release_lane(lane_id=lane_id)


def loading_models() -> set[int | None]:
    """Return the ids of the models that an engine of a worker that is alive is loading now."""
    starting = Lane.objects.filter(
        active=True,
        worker__heartbeat_at__gte=alive_since(),
        worker__stopped_at=None,
        engine_state=EngineState.STARTING,
    )
    return set(starting.values_list("engine_model_id", flat=True))


def want_model(*, lane_id: int, model_id: int | None) -> None:
    """Say which model the lane's engine shall hold; the supervisor acts on it."""
    Lane.objects.filter(pk=lane_id).update(wanted_model_id=model_id, start_held_back="")


def hold_back(*, lane_id: int, reason: str) -> None:
    """Say what the start of the lane's engine waits for; nothing, once it may start."""
    Lane.objects.filter(pk=lane_id).update(start_held_back=reason[:500])


def set_engine(*, lane_id: int, generation: int, **fields: Any) -> bool:
    """Write what the engine of `generation` does; False if it is not the present one."""
    return bool(Lane.objects.filter(pk=lane_id, generation=generation).update(**fields))


def reject_engine(*, lane_id: int, generation: int) -> None:
    """Have the supervisor stop the engine, whatever it was wanted for."""
    set_engine(lane_id=lane_id, generation=generation, engine_model_id=None)


def release_engine(*, lane_id: int, generation: int) -> None:
    """Have the engine ended, and none started until a batch wants one."""
    want_model(lane_id=lane_id, model_id=None)
    reject_engine(lane_id=lane_id, generation=generation)


def start_engine(
    *,
    lane_id: int,
    model_id: int,
    socket: str,
    version: str,
    max_num_seqs: int,
    engine_args: str = "",
) -> int:
    """Enter a new engine as starting; return its generation."""
    Lane.objects.filter(pk=lane_id).update(
        generation=F("generation") + 1,
        engine_model_id=model_id,
        engine_state=EngineState.STARTING,
        engine_progress="starting",
        start_held_back="",
        engine_socket=socket,
        engine_version=version,
        engine_args=engine_args,
        engine_revision="",
        engine_max_num_seqs=max_num_seqs,
        engine_started_at=Now(),
        engine_ready_at=None,
    )
    return Lane.objects.values_list("generation", flat=True).get(pk=lane_id)


def note_engine_ready(*, lane_id: int, generation: int, load_s: float, revision: str = "") -> None:
    """Enter the engine as ready, and forget the failures of its model on this lane.

    `revision` is of what it has loaded, empty where that is not known.
    """
    with transaction.atomic():
        if not set_engine(
            lane_id=lane_id,
            generation=generation,
            engine_state=EngineState.READY,
            engine_error="",
            engine_progress="",
            engine_revision=revision,
            engine_ready_at=Now(),
        ):
            return
        lane = Lane.objects.get(pk=lane_id)
        LaneModel.objects.update_or_create(
            lane_id=lane_id,
            model_id=lane.engine_model_id,
            defaults={"load_s": load_s, "failures": 0, "last_error": "", "retry_at": None},
        )


def note_load_failure(
    *, lane_id: int, model_id: int, reason: str, longest_s: float = RETRY_MAX_S
) -> None:
    """Withhold a model from this lane that did not load there, each time for twice as long."""
    with transaction.atomic():
        if not ServedModel.objects.select_for_update(no_key=True).filter(pk=model_id).first():
            return  # Removed meanwhile.
        known, _ = LaneModel.objects.select_for_update().get_or_create(
            lane_id=lane_id, model_id=model_id
        )
        wait_s = min(longest_s, RETRY_MIN_S * 2 ** min(known.failures, 10))
        known.failures += 1
        known.last_error = reason
        known.retry_at = timezone.now() + timedelta(seconds=wait_s)
        known.save()
        Lane.objects.filter(pk=lane_id, wanted_model_id=model_id).update(wanted_model=None)


def note_upstream_answers(*, lane_id: int, model_id: int, concurrency: int) -> None:
    """Remember how many requests at once an upstream took, and forget that it was away."""
    if ServedModel.objects.filter(pk=model_id).exists():
        LaneModel.objects.update_or_create(
            lane_id=lane_id,
            model_id=model_id,
            defaults={
                "concurrency": concurrency,
                "failures": 0,
                "last_error": "",
                "retry_at": None,
            },
        )


def retry_now(*, known: QuerySet[LaneModel]) -> int:
    """End the wait before the next try to load; return how many models were waited for."""
    return known.filter(retry_at__gt=timezone.now()).update(retry_at=timezone.now())
