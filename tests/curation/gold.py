"""Gold stars in the database, as starring leaves them, for tests of what is made of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.utils import timezone

from curation.models import GoldStar
from jobs.models import Project


def make_star(project: Project, number: int, *, prompt: str = "", **fields: Any) -> GoldStar:
    return GoldStar(**_columns(project, number, prompt or f"question {number}", fields))


def make_stars(project: Project, count: int, **fields: Any) -> list[GoldStar]:
    return GoldStar.objects.bulk_create(
        [make_star(project, number, **fields) for number in range(count)]
    )


def _columns(project: Project, number: int, prompt: str, fields: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    answer = fields.pop("answer", f"answer {number}")
    request = {"model": "small", "messages": messages, **fields.pop("request", {})}
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "project": project,
        # The same in each run: some splits go by it.
        "public_id": f"gold_{hashlib.md5(f'{project.name} {number}'.encode()).hexdigest()}",
        "batch_public_id": "batch_" + "0" * 32,
        "custom_id": f"line-{number}",
        "line": number + 1,
        "position": number,
        "endpoint": "/v1/chat/completions",
        "model_name": "small",
        "request_body": json.dumps(request).encode(),
        "response_body": json.dumps({"choices": [choice]}).encode(),
        "prompt_text": prompt,
        "prompt_sha256": hashlib.sha256(json.dumps(messages).encode()).digest(),
        "answer_text": answer,
        "answer_sha256": hashlib.sha256(answer.encode("utf-8", "replace")).digest(),
        "finish_reason": "stop",
        "answered_at": timezone.now(),
        "quality_score": 8,
        "created_by_name": "owner",
        **fields,
    }
