"""`/api/discover`: batches and models that answered the same prompts."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from curation.api.view import CurationView
from curation.services.discovering import discover
from jobs.api.paging import ID_MAX, find
from jobs.models import Batch


class DiscoverView(CurationView):
    def get(self, request: Request) -> Response:
        query = self.query()
        query.refuse_unknown(("batch_id",))
        projects = list(self.projects)
        batch_id = query.text("batch_id", max_length=ID_MAX)
        batch = None
        if batch_id is not None:
            ours = Batch.objects.filter(project__in=projects)
            batch = find(ours, batch_id, kind="batch", param="batch_id")
        found, looked_at = discover(projects=projects, batch=batch)
        models: dict[str, dict[str, Any]] = {}
        for one in found:
            model = models.setdefault(
                one.model, {"model": one.model, "batches": 0, "shared_prompts": 0}
            )
            model["batches"] += 1
            # Several batches of a model share the same prompts: the most of one is sure.
            model["shared_prompts"] = max(model["shared_prompts"], one.prompts)
        return Response(
            {
                "object": "list",
                "batch_id": None if batch is None else batch.public_id,
                "prompts_looked_at": looked_at,
                "data": [
                    {
                        "batch_id": one.batch_id,
                        "model": one.model,
                        "created_at": int(one.created_at.timestamp()),
                        "shared_prompts": one.prompts,
                    }
                    for one in found
                ],
                "models": list(models.values()),
            }
        )
