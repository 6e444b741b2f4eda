"""The routes of models: which names a batch may use."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api import schema
from jobs.api.errors import not_found
from jobs.api.parameters import echo
from jobs.api.view import ApiView
from jobs.models import ServedModel
from jobs.objects import list_object, model_object
from jobs.services.served_models import find_model


class ModelsView(ApiView):
    @extend_schema(**schema.LIST_MODELS)
    def get(self, request: Request) -> Response:
        served = ServedModel.objects.filter(enabled=True).order_by("pk")
        names = [(model, name) for model in served for name in (model.name, *model.aliases)]
        return Response(list_object([model_object(model, name) for model, name in names]))


class ModelView(ApiView):
    @extend_schema(**schema.GET_MODEL)
    def get(self, request: Request, model_id: str) -> Response:
        model = None if "\0" in model_id else find_model(model_id)
        if model is None:
            raise not_found(
                f"The model '{echo(model_id)}' does not exist.",
                param="model",
                code="model_not_found",
            )
        return Response(model_object(model, model_id))
