"""Taking over result files of `vllm bench`, marked as what they are."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from benchmarks.field_names import nested
from benchmarks.models import Run, RunKind, RunState
from benchmarks.vllm_results import read_results
from jobs.models import Project
from jobs.services.audit import current_actor, note_deed

BYTES_MAX = 64 * 1024 * 1024
# With all details a file has a number for each token; these are kept, the rest is not.
_KEPT = 200


def import_results(*, project: Project, content: bytes, note: str = "") -> Run:
    """Enter a result file of `vllm bench throughput` or `serve` as a run.

    Raises UnreadableResults, which says what is wrong with the file.
    """
    found = read_results(content)
    now = timezone.now()
    with transaction.atomic():
        run = Run.objects.create(
            project=project,
            kind=RunKind.IMPORTED,
            state=RunState.COMPLETED,
            model_name=found.model[:200],
            figures=nested(found.figures),
            imported={
                name: value
                for name, value in list(found.raw.items())[:_KEPT]
                if isinstance(value, int | float | bool | None)
                or (isinstance(value, str) and len(value) <= 1_000)
            },
            tool=found.tool,
            note=note[:500],
            created_by_name=current_actor().words[:200],
            started_at=now,
            ended_at=now,
        )
        note_deed(action="benchmark.import", target=run.public_id, project=project, tool=found.tool)
    return run
