"""Lines of input files for tests, and the checker that reads them."""

from __future__ import annotations

import json

from jobs.jsonl import LineChecker

ENDPOINT = "/v1/chat/completions"
ABSENT = object()


def checker(**changes: object) -> LineChecker:
    limits = {"max_lines": 1_000, "max_inputs": 1_000, "max_findings": 1_000}
    return LineChecker(endpoint=ENDPOINT, models={"small", "other"}, **{**limits, **changes})


def good(custom_id: str, **more: object) -> bytes:
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], **more}
    line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(line).encode()


def made(changes: dict[str, object], body: dict[str, object] | None = None) -> bytes:
    """Return a good line but for `changes` of it and of its body; ABSENT takes a field away."""
    value = json.loads(good("x"))
    value["body"] |= body or {}
    value["body"] = {k: v for k, v in value["body"].items() if v is not ABSENT}
    value |= changes
    return json.dumps({k: v for k, v in value.items() if v is not ABSENT}).encode()
