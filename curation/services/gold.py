"""Gold stars: given, changed, taken back, given again and undone, each with its event."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Unpack

from django.db import transaction
from django.utils import timezone

from curation.conversations import whole_answer
from curation.gold_fields import ANSWER_MAX, GoldFields, InvalidGold, check_fields
from curation.models import GoldEvent, GoldEventKind, GoldStar
from curation.models.gold import new_deed
from curation.services.provenance import describe_origin
from jobs.models import BatchResponse
from jobs.prompts import storable_text
from jobs.services.audit import current_actor


class CannotStar(Exception):
    """The response cannot be a gold star; the message says why."""


class GoldChanged(Exception):
    """Somebody else changed the star meanwhile; it is as they left it."""


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo did: so many stars set back, and so many left since they changed again."""

    stars: int
    left: int


def star_response(
    *, response: BatchResponse, deed: str | None = None, **fields: Unpack[GoldFields]
) -> GoldStar:
    """Make a response a gold star, with its prompt and provenance, or change the one it is.

    Doing it twice gives the same star. `quality_score` is needed for a new one. Raises
    InvalidGold, and CannotStar for an error, or an answer whose file was deleted.
    """
    checked = check_fields(fields)
    with transaction.atomic():
        held = (
            BatchResponse.objects.select_for_update(no_key=True, of=("self",))
            .select_related("request", "batch__output_file", "batch__model", "lane__worker")
            .filter(pk=response.pk)
            .first()
        )
        if held is None:
            raise CannotStar("The batch of this answer was deleted.")
        star = _find(held)
        if star is None:
            _check_can_be_starred(held)
            if "quality_score" not in checked:
                raise InvalidGold("quality_score", "it is missing: give 1 (poor) to 10 (best)")
            made = _copy(held, checked)
            GoldStar.objects.bulk_create([made], ignore_conflicts=True)
            star = _find(held)
            assert star is not None
            if star.public_id == made.public_id:
                _note(star, GoldEventKind.STARRED, {}, _values(star), deed)
                return star
        if star.removed_at is not None:
            _write(star, GoldEventKind.RESTORED, {"removed": False, **checked}, deed)
        else:
            _write(star, GoldEventKind.CHANGED, checked, deed)
        return star


def change_star(
    *,
    star: GoldStar,
    revision: int | None = None,
    deed: str | None = None,
    **fields: Unpack[GoldFields],
) -> GoldStar:
    """Change what is said of a star; GoldChanged if it is no longer at `revision`."""
    checked = check_fields(fields)
    with transaction.atomic():
        held = _hold(star, revision)
        _write(held, GoldEventKind.CHANGED, checked, deed)
    return held


def tag_star(*, star: GoldStar, tag: str, deed: str | None = None) -> GoldStar:
    """Give a star a tag that it may have already."""
    with transaction.atomic():
        held = _hold(star, None)
        _write(held, GoldEventKind.CHANGED, check_fields({"tags": [*held.tags, tag]}), deed)
    return held


def unstar(*, star: GoldStar, revision: int | None = None, deed: str | None = None) -> GoldStar:
    """Take a star back; all that it had is kept, so that it can be given again."""
    with transaction.atomic():
        held = _hold(star, revision)
        _write(held, GoldEventKind.UNSTARRED, {"removed": True}, deed)
    return held


def restore_star(*, star: GoldStar, deed: str | None = None) -> GoldStar:
    with transaction.atomic():
        held = _hold(star, None)
        _write(held, GoldEventKind.RESTORED, {"removed": False}, deed)
    return held


def undo_deed(*, deed: str, stars: Any) -> Undone:
    """Set back what one deed did to `stars` (a queryset), but not what was changed since.

    It is a deed itself: undoing that does the first again.
    """
    done = left = 0
    undoing = new_deed()
    with transaction.atomic():
        events = GoldEvent.objects.filter(deed=deed, star__in=stars).order_by("star_id")
        for event in events:
            held = GoldStar.objects.select_for_update(of=("self",)).get(pk=event.star_id)
            if held.revision != event.revision:
                left += 1
                continue
            before = event.before
            if event.kind == GoldEventKind.STARRED:
                before = {"removed": True}
            _write(held, _kind_of(before), before, undoing)
            done += 1
    return Undone(stars=done, left=left)


def undo_last(*, star: GoldStar) -> Undone:
    """Set back the last thing that was done to a star."""
    last = GoldEvent.objects.filter(star=star).order_by("-pk").first()
    if last is None:
        return Undone(stars=0, left=0)
    return undo_deed(deed=last.deed, stars=GoldStar.objects.filter(pk=star.pk))


def _find(response: BatchResponse) -> GoldStar | None:
    return (
        GoldStar.objects.select_for_update(of=("self",))
        .filter(batch_public_id=response.batch.public_id, position=response.request.position)
        .first()
    )


def _hold(star: GoldStar, revision: int | None) -> GoldStar:
    held = GoldStar.objects.select_for_update(of=("self",)).get(pk=star.pk)
    if revision is not None and held.revision != revision:
        raise GoldChanged(
            "Somebody else has changed this gold star since you read it. Load it again, and "
            "then change it."
        )
    return held


def _check_can_be_starred(response: BatchResponse) -> None:
    if not response.ok:
        raise CannotStar(
            f"The line '{response.request.custom_id}' has an error instead of an answer "
            f"({response.error_code}), so it cannot be a gold star."
        )
    stored = response.batch.output_file
    if response.batch.deleted_at is not None or (stored is not None and stored.is_hidden):
        raise CannotStar("The file with this answer was deleted, or has expired.")


def _copy(response: BatchResponse, fields: dict[str, Any]) -> GoldStar:
    request, batch, actor = response.request, response.batch, current_actor()
    body = bytes(request.body)
    whole = whole_answer(bytes(response.body), response.text)
    answer = storable_text(whole, limit=ANSWER_MAX)
    star = GoldStar(
        project_id=batch.project_id,
        response=response,
        batch=batch,
        batch_public_id=batch.public_id,
        custom_id=request.custom_id,
        line=request.line,
        position=request.position,
        endpoint=batch.endpoint,
        model_name=batch.model_name,
        request_body=body,
        response_body=bytes(response.body),
        prompt_text=request.prompt_text,
        prompt_sha256=bytes(request.prompt_sha256),
        answer_text=answer,
        answer_sha256=hashlib.sha256(answer.encode()).digest(),
        finish_reason=response.finish_reason,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        latency_ms=response.latency_ms,
        answered_at=response.created_at,
        provenance=describe_origin(response=response, request_body=body),
        created_by_id=actor.user_id,
        created_by_name=actor.words[:200],
    )
    _set(star, fields)
    return star


def _values(star: GoldStar) -> dict[str, Any]:
    return {
        "quality_score": star.quality_score,
        "tags": star.tags,
        "notes": star.notes,
        "edited_answer": star.edited_answer,
        "removed": star.removed_at is not None,
    }


def _set(star: GoldStar, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name == "removed":
            star.removed_at = timezone.now() if value else None
        elif name == "edited_answer":
            star.edited_answer = None if value == star.answer_text else value
        else:
            setattr(star, name, value)


def _kind_of(fields: dict[str, Any]) -> GoldEventKind:
    if "removed" not in fields:
        return GoldEventKind.CHANGED
    return GoldEventKind.UNSTARRED if fields["removed"] else GoldEventKind.RESTORED


def _write(star: GoldStar, kind: GoldEventKind, fields: dict[str, Any], deed: str | None) -> None:
    """Give a star that is held these values, with an event of what really changed."""
    before = _values(star)
    _set(star, fields)
    after = _values(star)
    changed = {name for name, value in after.items() if value != before[name]}
    if not changed:
        return
    star.revision += 1
    star.save()
    _note(
        star,
        kind,
        {name: before[name] for name in changed},
        {name: after[name] for name in changed},
        deed,
    )


def _note(
    star: GoldStar,
    kind: GoldEventKind,
    before: dict[str, Any],
    after: dict[str, Any],
    deed: str | None,
) -> None:
    actor = current_actor()
    GoldEvent.objects.create(
        star=star,
        kind=kind,
        deed=deed or new_deed(),
        revision=star.revision,
        before=before,
        after=after,
        actor_id=actor.user_id,
        actor_name=actor.words[:200],
    )
