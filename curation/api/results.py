"""`/api/results`: the answers that a filter finds, page by page."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from curation.api.view import CurationView
from curation.results import KEYS, ResultFilter
from curation.services.result_rows import find_results, page_of_results
from curation.services.search_index import behind_by
from jobs.api.errors import ApiError
from jobs.result_lines import line_id

_BIGGEST = 2**63 - 1


class ResultsView(CurationView):
    def get(self, request: Request) -> Response:
        query = self.query()
        query.refuse_unknown((*KEYS, "limit", "after"))
        wanted, wrong = ResultFilter.read(query.values)
        for name, problem in wrong.items():
            raise ApiError(f"Invalid '{name}': {problem}.", param=name, code="invalid_value")
        limit = query.integer("limit", low=1, high=200)
        after = query.integer("after", low=1, high=_BIGGEST)
        everywhere = getattr(request.user, "is_superuser", False)
        page = page_of_results(
            find_results(wanted, None if everywhere else list(self.projects)),
            before=after,
            after=None,
            size=50 if limit is None else limit,
        )
        return Response(
            {
                "object": "list",
                "data": [render_result(row) for row in page.rows],
                "has_more": page.older is not None,
                "next_after": page.older,
                "not_indexed_yet": behind_by(),
            }
        )


def render_result(row: dict[str, Any]) -> dict[str, Any]:
    """Return an answer; texts are cut as the page cuts them, `*_chars` is their whole length."""
    gold = row["gold"]
    return {
        "id": line_id(row["batch_id_"], row["position"]),
        "object": "result",
        "custom_id": row["custom_id"],
        "batch_id": row["batch_id_"],
        "project": row["project_name"],
        "model": row["model_name"],
        "line": row["line"],
        "status": "ok" if row["ok"] else "failed",
        "prompt": row["prompt"],
        "prompt_chars": row["prompt_chars"],
        "answer": row["answer"],
        "answer_chars": row["answer_chars"],
        "finish_reason": row["finish_reason"] or None,
        "error": None
        if row["ok"]
        else {"code": row["error_code"], "message": row["error_message"]},
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "latency_ms": row["latency_ms"],
        "answered_at": int(row["answered_at"].timestamp()),
        "gold_star": None
        if gold is None
        else {
            "id": gold["public_id"],
            "quality_score": gold["quality_score"],
            "tags": gold["tags"],
            "notes": gold["notes"],
            "edited": gold["edited_answer"] is not None,
        },
    }
