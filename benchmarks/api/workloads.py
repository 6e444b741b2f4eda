"""`/api/workloads`: what can be run, shipped and of one's own."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from benchmarks.api.rendering import render_workload
from benchmarks.models import Workload
from benchmarks.services.workloads import NAME_MAX, InvalidWorkload, create_workload
from benchmarks.workloads import SHIPPED
from curation.api.view import CurationView
from jobs.api.errors import ApiError, limit_reached
from jobs.api.paging import ID_MAX, find
from jobs.api.parsing import json_body
from jobs.models import Batch
from jobs.services.limits import LimitReached


class WorkloadsView(CurationView):
    def get(self, request: Request) -> Response:
        self.query().refuse_unknown(())
        shipped = [
            {
                "id": None,
                "object": "workload",
                "name": one.name,
                "version": one.version,
                "title": one.title,
                "endpoint": one.endpoint,
                "requests": one.default_requests,
            }
            for one in SHIPPED.values()
        ]
        own = Workload.objects.filter(project__in=self.projects, version=0).order_by("-pk")
        return Response({"object": "list", "data": shipped + [render_workload(one) for one in own]})

    def post(self, request: Request) -> Response:
        body = json_body(request)
        body.refuse_unknown(("name", "batch_id"))
        name = body.text("name", max_length=NAME_MAX, required=True) or ""
        batch_id = body.text("batch_id", max_length=ID_MAX, required=True) or ""
        batches = Batch.objects.filter(project__in=self.projects).select_related("project")
        batch = find(batches, batch_id, kind="batch", param="batch_id")
        self.check_may_change(batch.project_id)
        try:
            made = create_workload(project=batch.project, name=name, batch=batch)
        except InvalidWorkload as error:
            raise ApiError(str(error), code="invalid_workload") from error
        except LimitReached as error:
            raise limit_reached(str(error), code=error.code) from error
        return Response(render_workload(made))
