"""Scoring the answers of a run: each check over every answer, and what people said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Avg, Count

from benchmarks.models import Run
from benchmarks.quality import InvalidCheck, make_check
from benchmarks.services.judging import CRITERIA_MAX, KIND
from curation.models import GoldStar
from jobs.models import Batch, BatchResponse
from jobs.prompts import is_storable
from jobs.services.served_models import find_model

CHECKS_MAX = 10
_SLICE = 500
EXAMPLES = 5


def check_checks(checks: Sequence[Mapping[str, Any]]) -> str:
    """Say what is wrong with what answers are to be checked for; empty if nothing is."""
    if len(checks) > CHECKS_MAX:
        return f"A run has at most {CHECKS_MAX} checks."
    judges = [check for check in checks if check.get("kind") == KIND]
    if len(judges) > 1:
        return "A run has one judge."
    for check in checks:
        try:
            _check_judge(check) if check in judges else make_check(check)
        except InvalidCheck as error:
            return str(error)
    return ""


def _check_judge(check: Mapping[str, Any]) -> None:
    model, criteria = check.get("model"), check.get("criteria", "")
    if set(check) - {"kind", "model", "criteria"}:
        raise InvalidCheck("A judge has a 'model', and may have 'criteria'.")
    if not isinstance(model, str) or find_model(model) is None:
        raise InvalidCheck("A judge needs a 'model' that is served here.")
    if not isinstance(criteria, str) or len(criteria) > CRITERIA_MAX or not is_storable(criteria):
        raise InvalidCheck(f"The 'criteria' are a text of at most {CRITERIA_MAX:,} characters.")


def score_run(run: Run, batch: Batch | None) -> list[dict[str, Any]]:
    """Return what each check found in the answers of a batch, and the ratings that people gave.

    A score is `{"check", "words", "scored", "passed" or "mean", "share", "examples"}`, where
    `examples` are positions of the first lines that did not pass.
    """
    if batch is None:
        return []
    made = [make_check(check) for check in run.checks if check["kind"] != KIND]
    found: list[dict[str, Any]] = [
        {"check": one.kind, "words": one.words, "scored": 0, "passed": 0, "examples": []}
        for one in made
    ]
    gold = _gold_answers(run, batch) if any(one.kind == "gold" for one in made) else {}
    rows = (
        BatchResponse.objects.filter(batch=batch)
        .order_by("seq")
        .values_list("ok", "text", "request__position", "request__prompt_sha256")
    )
    for ok, text, position, prompt in rows.iterator(chunk_size=_SLICE):
        for one, score in zip(made, found, strict=True):
            if one.kind == "gold" and bytes(prompt) not in gold:
                continue
            score["scored"] += 1
            expected = gold.get(bytes(prompt), "")
            if ok and one.passes(text, expected=expected):
                score["passed"] += 1
            elif len(score["examples"]) < EXAMPLES:
                score["examples"].append(position)
    for score in found:
        score["share"] = score["passed"] / score["scored"] if score["scored"] else None
    ratings = _ratings(batch)
    return found + ([ratings] if ratings else [])


def _gold_answers(run: Run, batch: Batch) -> dict[bytes, str]:
    """Return the gold answer of each prompt of the batch that has one in its project."""
    stars = GoldStar.objects.filter(
        project=run.project,
        removed_at=None,
        prompt_sha256__in=batch.requests.values("prompt_sha256"),
    )
    return {
        bytes(star.prompt_sha256): star.answer
        for star in stars.order_by("quality_score", "pk").only(
            "prompt_sha256", "edited_answer", "answer_text"
        )
    }


def _ratings(batch: Batch) -> dict[str, Any] | None:
    """Return the mean of what people gave the answers of a batch, from 1 to 10."""
    stars = GoldStar.objects.filter(response__batch=batch, removed_at=None)
    found = stars.aggregate(count=Count("pk"), mean=Avg("quality_score"))
    if not found["count"]:
        return None
    return {
        "check": "ratings",
        "words": "ratings by people, 1 to 10",
        "scored": found["count"],
        "mean": found["mean"],
        "share": found["mean"] / 10,
        "examples": [],
    }
