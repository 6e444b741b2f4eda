"""`/api/export-gold-star`: gold stars in the shape that a reader loads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from curation.api.gold_filter import read_gold_filter
from curation.api.view import CurationView
from curation.attached import attach, stamped
from curation.examples import Example
from curation.models import GoldStar
from curation.services.gold_export import choose_stars, read_stars
from curation.shapes import ALIASES, SHAPES, Reject, Shape, Tally, find_shape
from curation.shapes.table import rejects_table
from jobs.api.errors import ApiError
from jobs.api.parameters import Parameters
from jobs.api.rendering import AnyNegotiation

# More do not belong into one JSON document.
IN_JSON_MAX = 10_000
K_MAX = 1_000
K_DEFAULT = 8


class ExportView(CurationView):
    content_negotiation_class = AnyNegotiation

    def get(self, request: Request) -> HttpResponseBase:
        query = self.query()
        wanted = read_gold_filter(query, also=("format", "download", "rejects", "k", "max_tokens"))
        name = query.choice("format", (*ALIASES, *SHAPES), required=True) or ""
        shape = find_shape(name)
        assert shape is not None
        stars = wanted.apply(GoldStar.objects.filter(project__in=self.projects))
        tally = Tally()
        is_few = shape.name.startswith("icl-")
        examples: Iterable[Example]
        if is_few:
            examples = choose_stars(stars, tally, **_few(query))
        else:
            for key in ("k", "max_tokens"):
                if key in query.values:
                    raise query.invalid(
                        key, "only the formats icl, icl-messages and icl-text take it"
                    )
            examples = read_stars(stars, tally)
        stem = stamped(f"gold-star-{name}")
        if query.choice("rejects", ("1", "0")) == "1":
            table = rejects_table(_rejects(shape, examples, tally))
            return attach(table, name=f"{stem}-rejects.csv", media_type="text/csv; charset=utf-8")
        if query.choice("download", ("1", "0")) == "1":
            content = shape.write(examples, tally)
            name = f"{stem}.{shape.extension}"
            return attach(content, name=name, media_type=shape.media_type)
        if not is_few and stars.order_by()[: IN_JSON_MAX + 1].count() > IN_JSON_MAX:
            raise ApiError(
                f"More than {IN_JSON_MAX:,} gold stars do not fit into one JSON document: add "
                "download=1, which streams them as a file.",
                param="download",
                code="too_many",
            )
        data = _data(shape, examples, tally)
        body = {
            "count": tally.rows,
            "data": data,
            "filename": f"{stem}.{shape.extension}",
            "format": name,
            "min_quality": wanted.min_quality,
        }
        return Response(body, headers={"x-vbatch-rejected": str(len(tally.rejects))})


def _few(query: Parameters) -> dict[str, Any]:
    count = query.integer("k", low=1, high=K_MAX)
    return {
        "count": K_DEFAULT if count is None else count,
        "max_tokens": query.integer("max_tokens", low=1, high=10_000_000),
    }


def _data(shape: Shape, examples: Iterable[Example], tally: Tally) -> Any:
    """Return what the file holds: a text where it is one, else its rows."""
    content = b"".join(shape.write(examples, tally))
    if shape.extension == "jsonl":
        return [json.loads(line) for line in content.split(b"\n")[:-1]]
    return json.loads(content) if shape.extension == "json" else content.decode("utf-8-sig")


def _rejects(shape: Shape, examples: Iterable[Example], tally: Tally) -> Iterator[Reject]:
    """Yield what is not in the file, as it comes."""
    for _ in shape.rows(examples, tally):
        yield from _drain(tally)
    yield from _drain(tally)


def _drain(tally: Tally) -> Iterator[Reject]:
    yield from tally.rejects
    tally.rejects.clear()
