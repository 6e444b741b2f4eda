"""What a person fills in to start a run: workload, model, repeats, checks of the answers, price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from django import forms
from django.conf import settings

from benchmarks.models import Workload
from benchmarks.services.judging import CRITERIA_MAX
from benchmarks.services.runs import REPEATS_MAX
from benchmarks.workloads import SHIPPED

_TEXT_MAX = 10_000
_PRICE_DIGITS = 10
DEFAULT_REPEATS = 5
# Fields that say what answers are checked for.
CHECKS = ("json", "gold", "contains", "regex", "exact", "json_schema", "judge")


class RunForm(forms.Form):
    """A new run; what each check takes is what `make_check` reads."""

    workload = forms.ChoiceField(label="Workload")
    requests = forms.IntegerField(label="Requests", min_value=1, required=False)
    model = forms.ChoiceField(label="Model")
    repeats = forms.IntegerField(label="Repeats", min_value=1, max_value=REPEATS_MAX)
    price = forms.DecimalField(
        label="Price of a GPU hour",
        min_value=0,
        max_digits=_PRICE_DIGITS,
        decimal_places=4,
        required=False,
    )
    note = forms.CharField(label="Note", max_length=500, required=False)
    json = forms.BooleanField(label="JSON", required=False)
    gold = forms.BooleanField(label="Gold answers", required=False)
    contains = forms.CharField(label="Contains", max_length=_TEXT_MAX, required=False)
    regex = forms.CharField(label="Matches", max_length=_TEXT_MAX, required=False)
    exact = forms.CharField(label="Is exactly", max_length=_TEXT_MAX, required=False)
    json_schema = forms.CharField(label="JSON schema", max_length=100_000, required=False)
    judge = forms.ChoiceField(label="Judge", required=False)
    criteria = forms.CharField(label="Criteria", max_length=CRITERIA_MAX, required=False)

    def __init__(
        self, *args: Any, own: Sequence[Workload], models: Sequence[str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        choices = {
            "workload": [(one.name, one.title) for one in SHIPPED.values()]
            + [(one.public_id, one.title) for one in own],
            "model": [(name, name) for name in models],
            "judge": [("", ""), *((name, name) for name in models)],
        }
        for name, values in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = values
        self.fields["requests"].widget.attrs["max"] = settings.MAX_LINES

    def clean_json_schema(self) -> Any:
        text: str = self.cleaned_data["json_schema"].strip()
        if not text:
            return None
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise forms.ValidationError(f"It is no JSON: {error}.") from error

    def checks(self) -> list[dict[str, Any]]:
        given = self.cleaned_data
        found: list[dict[str, Any]] = [{"kind": kind} for kind in ("json", "gold") if given[kind]]
        found += [
            {"kind": kind, field: given[kind]}
            for kind, field in (("contains", "text"), ("regex", "pattern"), ("exact", "text"))
            if given[kind]
        ]
        if given["json_schema"] is not None:
            found.append({"kind": "json_schema", "schema": given["json_schema"]})
        if given["judge"]:
            criteria = {"criteria": given["criteria"]} if given["criteria"] else {}
            found.append({"kind": "judge", "model": given["judge"], **criteria})
        return found
