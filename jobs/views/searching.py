"""Looking for batches by what a person has in hand: an id, a model, a line, a label."""

from __future__ import annotations

import re

from django.db.models import BooleanField, F, Func, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.fields.json import JSONField
from django.db.models.functions import Cast

from jobs.models import Batch, BatchRequest, ServedModel

# Longer than any id, name or custom_id.
Q_MAX = 512
# Lines are looked up batch by batch. An index on custom_id alone would cost every upload about
# a third of its speed; ten thousand look-ups take ten milliseconds.
NEWEST = 10_000
_ID = re.compile(r"batch_[0-9a-zA-Z]+|[0-9a-f]{4,32}")


def search_batches(batches: QuerySet[Batch], text: str) -> QuerySet[Batch]:
    """Return the batches that `text` finds: the beginning of an id or of a model's name, a part
    of the name of a served model, or, among the newest 10,000, a custom_id or a metadata value.
    """
    found: list[Q] = []
    if _ID.fullmatch(text):
        prefix = text if text.startswith("batch_") else f"batch_{text}"
        found.append(Q(public_id__startswith=prefix))
    served = ServedModel.objects.filter(name__icontains=text).values_list("name", flat=True)
    found.append(Q(model_name__in=list(served[:1_000])))
    found.append(Q(model_name__startswith=text))
    found.append(Q(pk__in=_newest_with(batches, text)))
    # Only what finds anything: each alternative more makes a worse plan of the whole.
    hits = [one for one in found if batches.filter(one).exists()]
    if not hits:
        return batches.none()
    whole = hits[0]
    for one in hits[1:]:
        whole |= one
    return batches.filter(whole)


def _newest_with(batches: QuerySet[Batch], text: str) -> list[int]:
    """Return those of the newest batches that have such a line or label.

    A sub-select for each, so that it is a look-up in the index of the batch's lines and never
    a walk over all lines.
    """
    line = BatchRequest.objects.filter(batch=OuterRef("pk"), custom_id=text).values("pk")[:1]
    newest = batches.order_by("-pk").values("pk")[:NEWEST]
    label = Func(
        F("metadata"),
        Value("$.* ? (@ == $text)"),
        Cast(Value({"text": text}, output_field=JSONField()), JSONField()),
        template="jsonb_path_exists(%(expressions)s)",
        output_field=BooleanField(),
    )
    found = Batch.objects.filter(pk__in=newest).annotate(line=Subquery(line))
    return list(found.filter(Q(line__isnull=False) | Q(label)).values_list("pk", flat=True)[:1_000])
