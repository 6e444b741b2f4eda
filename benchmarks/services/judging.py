"""Having a model judge the answers of a run: a batch of its own, and what it said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction

from benchmarks.judging import HIGHEST, judge_request, read_judgement
from benchmarks.models import Run, RunState
from jobs.models import Batch
from jobs.services.batches import BatchOrder, create_batch
from jobs.services.files import delete_file
from jobs.services.made_files import create_from_lines
from jobs.states import BatchState

KIND = "judge"
CRITERIA_MAX = 2_000
_SLICE = 500
_EXAMPLES = 5


def judge_of(run: Run) -> Mapping[str, Any] | None:
    """Return what is asked of a judge, if one is."""
    return next((check for check in run.checks if check["kind"] == KIND), None)


def start_judging(*, run: Run, answers: Batch) -> None:
    """Make the batch in which the judge is asked about each good answer: once."""
    asked = judge_of(run)
    if asked is None or run.judge_public_id:
        return
    stored = create_from_lines(
        project=run.project,
        filename=f"judge-{run.public_id}.jsonl",
        lines=_questions(answers, asked),
    )
    order = BatchOrder(
        endpoint="/v1/chat/completions",
        completion_window="24h",
        input_file_id=stored.public_id,
        metadata={"benchmark": run.public_id, "judge": "1"},
    )
    try:
        with transaction.atomic():
            made = create_batch(
                project=run.project,
                order=order,
                digest=f"{run.public_id} judge".encode(),
                idempotency_key=f"{run.public_id}-judge",
                reason=f"judges the answers of {run.public_id}",
            )
            Run.objects.filter(pk=run.pk, state=RunState.SCORING).update(
                judge_batch=made, judge_public_id=made.public_id
            )
    except BaseException:
        delete_file(stored=stored)
        raise
    if made.input_file_public_id != stored.public_id:
        delete_file(stored=stored)


def read_judgements(run: Run) -> dict[str, Any] | None:
    """Return the judge's score, once its batch has ended; None while it is at work.

    `unread` are answers of the judge that say no score; `examples` are the lines with the lowest
    scores below the highest.
    """
    batch, asked = run.judge_batch, judge_of(run) or {}
    if batch is not None and batch.is_live:
        return None
    found = {
        "check": KIND,
        "words": f"score by {asked.get('model')}, 1 to {HIGHEST}",
        "scored": 0,
        "unread": 0,
        "examples": [],
    }
    if batch is None or batch.state != BatchState.COMPLETED:
        return found | {"note": f"The judge's batch is {batch.state if batch else 'deleted'}."}
    scores: list[tuple[int, int]] = []
    rows = batch.responses.order_by("seq").values_list("ok", "text", "request__custom_id")
    for ok, text, custom_id in rows.iterator(chunk_size=_SLICE):
        judged = read_judgement(text) if ok else None
        if judged is not None:
            scores.append((judged.score, int(custom_id)))
    found |= {"scored": len(scores), "unread": batch.total - len(scores)}
    if scores:
        mean = sum(score for score, _ in scores) / len(scores)
        worse = sorted(one for one in scores if one[0] < HIGHEST)
        lowest = [position for _, position in worse[:_EXAMPLES]]
        found |= {"mean": mean, "share": mean / HIGHEST, "examples": lowest}
    return found


def _questions(answers: Batch, asked: Mapping[str, Any]) -> Iterator[bytes]:
    rows = answers.responses.filter(ok=True).order_by("seq")
    more = {"criteria": asked["criteria"]} if asked.get("criteria") else {}
    for position, question, answer in rows.values_list(
        "request__position", "request__prompt_text", "text"
    ).iterator(chunk_size=_SLICE):
        line = judge_request(
            custom_id=str(position), model=asked["model"], question=question, answer=answer, **more
        )
        yield json.dumps(line).encode() + b"\n"
