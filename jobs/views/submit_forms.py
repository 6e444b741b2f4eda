"""What a person fills in to submit a batch: the template of a table, and the order."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from django import forms
from django.conf import settings

from jobs.addresses import AllowList, why_not
from jobs.csv_lines import Template
from jobs.services.batches import (
    METADATA_KEY_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_MAX,
    WEBHOOK_URL_MAX,
    BatchOrder,
    completion_windows,
    endpoints,
)

PRIORITIES = (
    ("1", "High: before the others of its model"),
    ("0", "Normal"),
    ("-1", "Low: after the others of its model"),
)
_MESSAGE_MAX = 200_000


class TemplateForm(forms.Form):
    """How a row of a table becomes a request."""

    user = forms.CharField(label="User message", max_length=_MESSAGE_MAX, strip=False)
    system = forms.CharField(
        label="System message", max_length=_MESSAGE_MAX, strip=False, required=False
    )
    model = forms.ChoiceField(label="Model")
    id_column = forms.CharField(label="Column for custom_id", max_length=500, required=False)
    max_tokens = forms.IntegerField(
        label="Most tokens an answer", min_value=1, max_value=10_000_000, required=False
    )
    temperature = forms.FloatField(label="Temperature", min_value=0, max_value=2, required=False)

    def __init__(self, *args: Any, models: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(name, name) for name in models]

    def template(self) -> Template:
        given = self.cleaned_data
        more = {name: given[name] for name in ("max_tokens", "temperature")}
        return Template(
            model=given["model"],
            # A browser sends the ends of lines as two characters, and a model would read both.
            user=given["user"].replace("\r\n", "\n"),
            system=given["system"].replace("\r\n", "\n"),
            id_column=given["id_column"],
            more={name: value for name, value in more.items() if value is not None},
        )


class OrderForm(forms.Form):
    """What is asked for of a batch beyond its file, with the checks of the API."""

    # Made with the form, so that what is sent twice makes one batch.
    token = forms.RegexField(regex=r"\Apage-[0-9a-f]{32}\Z")
    endpoint = forms.ChoiceField(label="Endpoint")
    priority = forms.ChoiceField(label="Priority", choices=PRIORITIES)
    completion_window = forms.ChoiceField(label="Completion window")
    webhook_url = forms.CharField(label="Webhook", max_length=WEBHOOK_URL_MAX, required=False)
    metadata = forms.CharField(label="Metadata", max_length=20_000, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, values in (
            ("endpoint", endpoints()),
            ("completion_window", completion_windows()),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = [(value, value) for value in values]

    def clean_webhook_url(self) -> str:
        url: str = self.cleaned_data["webhook_url"]
        if url and (reason := why_not(url, AllowList.read(settings.WEBHOOK_ALLOW))) is not None:
            raise forms.ValidationError(f"It cannot be called: {reason}.")
        return url

    def clean_metadata(self) -> dict[str, str] | None:
        pairs: dict[str, str] = {}
        for line in self.cleaned_data["metadata"].splitlines():
            if not line.strip():
                continue
            key, colon, value = (part.strip() for part in line.partition(":"))
            if not key or not colon:
                raise forms.ValidationError("Write one pair a line, as in “team: search”.")
            if len(key) > METADATA_KEY_MAX or len(value) > METADATA_VALUE_MAX:
                raise forms.ValidationError(
                    f"A key has at most {METADATA_KEY_MAX} characters, a value "
                    f"{METADATA_VALUE_MAX}."
                )
            if key in pairs:
                raise forms.ValidationError(f"The key “{key}” stands there twice.")
            pairs[key] = value
        if len(pairs) > METADATA_PAIRS_MAX:
            raise forms.ValidationError(f"At most {METADATA_PAIRS_MAX} pairs are allowed.")
        return pairs or None

    def order(self, *, input_file_id: str) -> BatchOrder:
        given = self.cleaned_data
        return BatchOrder(
            endpoint=given["endpoint"],
            completion_window=given["completion_window"],
            input_file_id=input_file_id,
            metadata=given["metadata"],
            priority=int(given["priority"]),
            webhook_url=given["webhook_url"],
        )


def new_token() -> str:
    return f"page-{secrets.token_hex(16)}"


def problems_of(form: forms.Form) -> list[str]:
    """Return what is wrong with a form, each with the label of its field."""
    return [
        f"{form.fields[name].label or name}: {error}"
        for name, errors in form.errors.items()
        for error in errors
    ]
