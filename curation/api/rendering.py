"""Curation's objects as JSON."""

from __future__ import annotations

from typing import Any

from curation.models import GoldStar
from jobs.lenient_json import decode_leniently
from jobs.result_lines import line_id


def render_star(star: GoldStar, *, whole: bool = False) -> dict[str, Any]:
    """Return a star; `whole` adds the bodies of request and answer as they were."""
    found: dict[str, Any] = {
        "id": star.public_id,
        "object": "gold_star",
        "created_at": int(star.created_at.timestamp()),
        "updated_at": int(star.updated_at.timestamp()),
        "created_by": star.created_by_name,
        "revision": star.revision,
        "removed": star.removed_at is not None,
        "batch_id": star.batch_public_id,
        "response_id": line_id(star.batch_public_id, star.position),
        "custom_id": star.custom_id,
        "endpoint": star.endpoint,
        "model": star.model_name,
        "prompt": star.prompt_text,
        "answer": star.answer,
        "original_answer": star.answer_text,
        "edited_answer": star.edited_answer,
        "quality_score": star.quality_score,
        "tags": star.tags,
        "notes": star.notes,
        "finish_reason": star.finish_reason,
        "input_tokens": star.input_tokens,
        "output_tokens": star.output_tokens,
        "latency_ms": star.latency_ms,
        "answered_at": int(star.answered_at.timestamp()),
        "prompt_sha256": bytes(star.prompt_sha256).hex(),
        "answer_sha256": bytes(star.answer_sha256).hex(),
        "provenance": star.provenance,
    }
    if whole:
        found["request_body"] = _parsed(bytes(star.request_body))
        found["response_body"] = _parsed(bytes(star.response_body))
    return found


def _parsed(body: bytes) -> Any:
    try:
        return decode_leniently(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
