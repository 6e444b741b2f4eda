"""`/api/gold-star`: answers are starred, listed, changed and unstarred."""

from __future__ import annotations

from typing import cast

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from curation.api.gold_filter import read_gold_filter
from curation.api.rendering import render_star
from curation.api.view import CurationView
from curation.gold_fields import GoldFields, InvalidGold
from curation.models import GoldStar
from curation.services.gold import (
    CannotStar,
    GoldChanged,
    change_star,
    restore_star,
    star_response,
    unstar,
)
from jobs.api.errors import ApiError, conflict, not_found
from jobs.api.paging import ID_MAX, find, read_paging
from jobs.api.parameters import Parameters, echo
from jobs.api.parsing import json_body
from jobs.models import Batch, BatchResponse
from jobs.result_lines import line_of_id

_FIELDS = ("quality_score", "tags", "notes", "edited_answer")
_PAGING = ("limit", "after")


class GoldStarsView(CurationView):
    def post(self, request: Request) -> Response:
        body = json_body(request)
        body.refuse_unknown(("response_id", "batch_id", "custom_id", *_FIELDS))
        response = self._named(body)
        self.check_may_change(response.batch.project_id)
        try:
            star = star_response(response=response, **read_fields(body))
        except (InvalidGold, CannotStar) as error:
            raise refusal(error) from error
        return Response(render_star(star))

    def get(self, request: Request) -> Response:
        query = self.query()
        wanted = read_gold_filter(query, also=_PAGING)
        paging = read_paging(query, default=20, high=100)
        everything = GoldStar.objects.filter(project__in=self.projects)
        stars, more = paging.cut(wanted.apply(everything), everything=everything, kind="gold star")
        data = [render_star(star) for star in stars]
        return Response(
            {
                "object": "list",
                "data": data,
                "first_id": data[0]["id"] if data else None,
                "last_id": data[-1]["id"] if data else None,
                "has_more": more,
            }
        )

    def _named(self, body: Parameters) -> BatchResponse:
        """Return the response that the body names, by its id or by its place in a batch."""
        responses = BatchResponse.objects.select_related("batch").filter(
            batch__in=Batch.objects.filter(project__in=self.projects)
        )
        response_id = body.text("response_id", max_length=ID_MAX)
        if response_id is not None:
            if {"batch_id", "custom_id"} & set(body.values):
                raise ApiError(
                    "Name the answer by 'response_id', or by 'batch_id' and 'custom_id', not by "
                    "both.",
                    param="response_id",
                )
            return _by_id(responses, response_id)
        if not {"batch_id", "custom_id"} & set(body.values):
            raise ApiError(
                "Name the answer: either by 'response_id' (the 'id' of a line in a batch's "
                "output file), or by 'batch_id' and 'custom_id'.",
                param="response_id",
                code="missing_required_parameter",
            )
        batch_id = body.text("batch_id", max_length=ID_MAX, required=True)
        custom_id = body.text("custom_id", max_length=ID_MAX, required=True)
        batch = find(
            Batch.objects.filter(project__in=self.projects),
            batch_id or "",
            kind="batch",
            param="batch_id",
        )
        found = responses.filter(
            batch=batch, request__batch=batch, request__custom_id=custom_id
        ).first()
        if found is None:
            raise not_found(
                f"The batch '{batch.public_id}' has no answer with custom_id "
                f"'{echo(custom_id or '')}'.",
                param="custom_id",
            )
        return found


class GoldStarView(CurationView):
    def get(self, request: Request, gold_id: str) -> Response:
        return Response(render_star(self._star(gold_id), whole=True))

    def post(self, request: Request, gold_id: str) -> Response:
        body = json_body(request)
        body.refuse_unknown(("revision", "removed", *_FIELDS))
        star = self._star(gold_id)
        self.check_may_change(star.project_id)
        revision = body.integer("revision", low=1, high=2**31 - 1)
        if body.values.get("removed") not in (None, False):
            raise body.invalid("removed", "only false is taken, which gives the star back")
        try:
            if "removed" in body.values:
                star = restore_star(star=star)
                revision = None
            star = change_star(star=star, revision=revision, **read_fields(body))
        except (InvalidGold, GoldChanged) as error:
            raise refusal(error) from error
        return Response(render_star(star, whole=True))

    def delete(self, request: Request, gold_id: str) -> Response:
        star = self._star(gold_id)
        self.check_may_change(star.project_id)
        star = unstar(star=star)
        return Response({"id": star.public_id, "object": "gold_star", "deleted": True})

    def _star(self, gold_id: str) -> GoldStar:
        stars: QuerySet[GoldStar] = GoldStar.objects.filter(project__in=self.projects)
        return find(stars, gold_id, kind="gold star")


def read_fields(body: Parameters) -> GoldFields:
    """Return what the body says of an answer; the services check it."""
    found = {name: body.values[name] for name in _FIELDS if name in body.values}
    return cast(GoldFields, found)


def refusal(error: Exception) -> ApiError:
    """Return the API's error for what the services refused."""
    if isinstance(error, InvalidGold):
        return ApiError(
            f"Invalid '{error.field}': {error}.", param=error.field, code="invalid_value"
        )
    if isinstance(error, GoldChanged):
        return conflict(str(error), code="changed_meanwhile")
    return ApiError(str(error), code="cannot_be_starred")


def _by_id(responses: QuerySet[BatchResponse], response_id: str) -> BatchResponse:
    named = line_of_id(response_id)
    found = None
    if named is not None:
        batch_id, position = named
        found = responses.filter(
            batch__public_id=batch_id,
            request__position=position,
            request__batch__public_id=batch_id,
        ).first()
    if found is None:
        raise not_found(f"No response found with id '{echo(response_id)}'.", param="response_id")
    return found
