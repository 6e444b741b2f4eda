"""The answers that the lines of a file name, found many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import QuerySet

from curation.imported_stars import StarLine
from curation.models import GoldStar
from jobs.line_rules import CUSTOM_ID_MAX, short
from jobs.models import Batch, BatchRequest, BatchResponse, Project
from jobs.result_lines import line_of_id


class _Answer(NamedTuple):
    """What is known of a line of a batch; `ok` is None where it is not answered yet."""

    pk: int
    custom_id: str
    position: int
    ok: bool | None
    error_code: str


class NamedAnswers:
    """The answers of a project that some lines name, and which of them are gold stars.

    Asks the database twice for each batch that is named, and otherwise a fixed number of times.
    """

    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}
        self.by_custom_id: dict[tuple[str, str], _Answer] = {}
        self.by_position: dict[tuple[str, int], _Answer] = {}
        self.stars: set[int] = set()

    @classmethod
    def find(cls, project: Project, lines: Sequence[StarLine]) -> NamedAnswers:
        found = cls()
        positions: dict[str, set[int]] = defaultdict(set)
        custom_ids: dict[str, set[str]] = defaultdict(set)
        for line in lines:
            named = line_of_id(line.response_id) if line.response_id else None
            if named is not None:
                positions[named[0]].add(named[1])
            elif not line.response_id and len(line.custom_id) <= CUSTOM_ID_MAX:
                custom_ids[line.batch_id].add(line.custom_id)
        batches = Batch.objects.filter(
            project=project,
            deleted_at__isnull=True,
            public_id__in={*positions, *custom_ids},
        ).select_related("output_file")
        found.batches = {batch.public_id: batch for batch in batches}
        for name, batch in found.batches.items():
            requests = BatchRequest.objects.filter(batch=batch)
            for answer in _answers(batch, requests.filter(custom_id__in=custom_ids[name])):
                found.by_custom_id[name, answer.custom_id] = answer
            for answer in _answers(batch, requests.filter(position__in=positions[name])):
                found.by_position[name, answer.position] = answer
        every = [*found.by_custom_id.values(), *found.by_position.values()]
        stars = GoldStar.objects.filter(response_id__in={one.pk for one in every})
        found.stars = set(stars.values_list("response_id", flat=True))
        return found

    def of(self, line: StarLine) -> tuple[int | None, str]:
        """Return the key of the answer that a line names, else what is wrong with it."""
        name, position = line.batch_id, -1
        if line.response_id:
            named = line_of_id(line.response_id)
            if named is None:
                return None, f"'{short(line.response_id)}' is no id of a response."
            name, position = named
            if line.batch_id and line.batch_id != name:
                return None, "Its response_id is not of its batch_id."
        batch = self.batches.get(name)
        if batch is None:
            return None, f"The project has no batch with id '{short(name)}'."
        if line.response_id:
            answer = self.by_position.get((name, position))
            if answer is not None and line.custom_id not in ("", answer.custom_id):
                return None, "Its response_id is not of its custom_id."
        else:
            answer = self.by_custom_id.get((name, line.custom_id))
        if answer is None:
            what = line.response_id or line.custom_id
            return None, f"The batch has no line '{short(what)}'."
        return _usable(batch, answer)


def _answers(batch: Batch, requests: QuerySet[BatchRequest]) -> list[_Answer]:
    lines = list(requests.values_list("pk", "custom_id", "position"))
    answers = {
        pk: (ok, code)
        for pk, ok, code in BatchResponse.objects.filter(
            batch=batch, pk__in=[line[0] for line in lines]
        ).values_list("pk", "ok", "error_code")
    }
    return [_Answer(*line, *answers.get(line[0], (None, ""))) for line in lines]


def _usable(batch: Batch, answer: _Answer) -> tuple[int | None, str]:
    if answer.ok is None:
        return None, "The line is not answered yet."
    if not answer.ok:
        return None, f"The line has an error instead of an answer ({answer.error_code})."
    if batch.output_file is not None and batch.output_file.is_hidden:
        return None, "The file with this answer was deleted, or has expired."
    return answer.pk, ""
