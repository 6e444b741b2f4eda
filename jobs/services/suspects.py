"""Finding the line that kills the engine, among those that were in it when it died."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from jobs.models import Suspect

# Each death leaves groups of an eighth: 256 lines come down to one in three deaths.
SPLIT = 8
# A line is condemned only after the engine died twice with nothing else in it: one death alone
# may be chance, such as an operator's kill or another process taking the memory.
DEATHS_ALONE = 2


@dataclass(slots=True, frozen=True)
class InFlight:
    request_id: int
    batch_id: int


def note_engine_death(*, lines: Sequence[InFlight]) -> list[int]:
    """Make suspects of the lines that were in the engine; return the ids of condemned ones.

    They will run again in groups an eighth of this one's size, each alone in the engine. A line
    that was alone is counted, and condemned at the second time; its caller answers it.
    """
    if len(lines) == 1:
        return _note_death_alone(lines[0])
    size = max(1, -(-len(lines) // SPLIT))
    suspects = []
    for start in range(0, len(lines), size):
        key = secrets.token_hex(8)
        suspects += [
            Suspect(
                request_id=line.request_id,
                batch_id=line.batch_id,
                group_key=key,
                group_size=size,
            )
            for line in lines[start : start + size]
        ]
    Suspect.objects.bulk_create(
        suspects,
        update_conflicts=True,
        unique_fields=["request"],
        update_fields=["group_key", "group_size"],
    )
    return []


def _note_death_alone(line: InFlight) -> list[int]:
    with transaction.atomic():
        suspect, _ = Suspect.objects.select_for_update().get_or_create(
            request_id=line.request_id,
            defaults={
                "batch_id": line.batch_id,
                "group_key": secrets.token_hex(8),
                "group_size": 1,
            },
        )
        suspect.deaths_alone += 1
        suspect.save(update_fields=["deaths_alone"])
    return [line.request_id] if suspect.deaths_alone >= DEATHS_ALONE else []


def clear_suspects(*, request_ids: Sequence[int]) -> None:
    """Forget suspects that have been answered."""
    Suspect.objects.filter(pk__in=request_ids).delete()
