"""Running the answers that a filter finds, or that were chosen, anew: what it will be, and a go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_http_methods

from curation.results import ResultFilter
from curation.services.result_rows import find_picked, find_results, keys_by_batch
from jobs.changed_bodies import BodyChange, read_parameters
from jobs.models import Batch, Project
from jobs.services.creating_once import IdempotencyConflict
from jobs.services.input_reading import names_of_models
from jobs.services.limits import LimitReached
from jobs.services.projects import projects_of
from jobs.services.rerunning import PARTS_MAX, CannotRerun, Part, RerunOrder, rerun_lines
from jobs.views.access import projects_to_submit_to
from jobs.views.submit_forms import PRIORITIES, new_token, problems_of

_PARAMETERS_CHARS = 20_000


class RerunForm(forms.Form):
    """What is changed, and how urgent it is."""

    # Made with the form, so that what is sent twice makes its batches once.
    token = forms.RegexField(regex=r"\Apage-[0-9a-f]{32}\Z")
    model = forms.ChoiceField(label="Model", required=False)
    temperature = forms.FloatField(label="Temperature", min_value=0, max_value=2, required=False)
    max_tokens = forms.IntegerField(
        label="Most tokens an answer", min_value=1, max_value=10_000_000, required=False
    )
    parameters = forms.CharField(
        label="Other parameters", max_length=_PARAMETERS_CHARS, required=False
    )
    priority = forms.ChoiceField(label="Priority", choices=PRIORITIES)

    def __init__(self, *args: Any, models: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", ""), *((name, name) for name in models)]

    def clean_parameters(self) -> dict[str, bytes]:
        text: str = self.cleaned_data["parameters"].strip()
        try:
            return read_parameters(text) if text else {}
        except ValueError as error:
            raise forms.ValidationError(f"{error}.") from error

    def order(self) -> RerunOrder:
        given = self.cleaned_data
        parameters = dict(given["parameters"])
        if given["temperature"] is not None:
            parameters["temperature"] = repr(given["temperature"]).encode()
        change = BodyChange(
            model=given["model"], max_tokens=given["max_tokens"], parameters=parameters
        )
        return RerunOrder(change=change, priority=int(given["priority"]))


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The lines that are meant, by their batches; `foreign` are in projects that may be read only.

    `upto` is the newest answer that was there when they were first looked at: what comes in while
    somebody fills in the form is not run unseen.
    """

    wanted: ResultFilter
    ids: list[int]
    upto: int | None
    parts: list[Part]
    foreign: int
    too_many: bool

    @property
    def lines(self) -> int:
        return sum(len(part.requests) for part in self.parts)


@require_http_methods(["GET", "POST"])
@login_required
def rerun(request: HttpRequest) -> HttpResponse:
    projects = list(projects_to_submit_to(request.user))
    if not projects:
        raise PermissionDenied("Viewers of a project cannot run its lines again.")
    chosen = _chosen(request, projects)
    # Rows that were chosen come by POST, as a long list; the form that follows has a token.
    if request.method != "POST" or "token" not in request.POST:
        return _show(request, chosen, token=new_token())
    form = RerunForm(request.POST, models=sorted(names_of_models()))
    if not form.is_valid():
        token = new_token() if "token" in form.errors else ""
        return _show(request, chosen, problems=problems_of(form), status=400, token=token)
    if chosen.too_many:
        # A part of what is meant is not run in its place; the page says so above the form.
        return _show(request, chosen, status=400)
    try:
        made = rerun_lines(parts=chosen.parts, order=form.order(), token=form.cleaned_data["token"])
    except CannotRerun as error:
        return _show(request, chosen, problems=[str(error)], status=400)
    except LimitReached as error:
        return _show(request, chosen, problems=[str(error)], status=429)
    except IdempotencyConflict:
        words = "This form has made its batches already, with other settings. Send it again to"
        return _show(
            request, chosen, problems=[f"{words} make more."], status=409, token=new_token()
        )
    if len(made) == 1:
        return redirect("batch-detail", public_id=made[0].public_id)
    _report(request, made)
    return redirect("batch-list")


def _chosen(request: HttpRequest, projects: Sequence[Project]) -> Chosen:
    wanted, _ = ResultFilter.read(request.GET.dict())
    ids = [int(one) for one in request.POST.get("ids", "").split() if _is_key(one)]
    readable = None if request.user.is_superuser else list(projects_of(request.user))
    rows = find_picked(ids, readable) if ids else find_results(wanted, readable)
    upto = request.POST.get("upto", "")
    found = keys_by_batch(rows, upto=int(upto) if _is_key(upto) else None, most=settings.MAX_LINES)
    batches = Batch.objects.select_related("project").in_bulk(list(found.keys))
    ours = {project.pk for project in projects}
    parts = [
        Part(batch=batch, requests=found.keys[pk])
        for pk, batch in sorted(batches.items(), reverse=True)
        if request.user.is_superuser or batch.project_id in ours
    ]
    lines = sum(len(keys) for keys in found.keys.values())
    return Chosen(
        wanted=wanted,
        ids=ids,
        upto=found.newest,
        parts=parts,
        foreign=lines - sum(len(part.requests) for part in parts),
        too_many=found.is_cut,
    )


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _show(
    request: HttpRequest,
    chosen: Chosen,
    *,
    problems: Sequence[str] = (),
    status: int = 200,
    token: str = "",
) -> HttpResponse:
    context = {
        "chosen": chosen,
        "ids": " ".join(str(one) for one in chosen.ids),
        "back": chosen.wanted.address(),
        "most_lines": settings.MAX_LINES,
        "most_parts": PARTS_MAX,
        "can_go": chosen.parts and not chosen.too_many and len(chosen.parts) <= PARTS_MAX,
        "problems": problems,
        "given": request.POST if problems else {},
        "token": token or request.POST.get("token") or new_token(),
        "models": sorted(names_of_models()),
        "priorities": PRIORITIES,
    }
    return render(request, "curation/rerun.html", context, status=status)


def _report(request: HttpRequest, made: Sequence[Batch]) -> None:
    links = format_html_join(
        ", ",
        '<a href="/batches/{}" title="{}">{}</a>',
        ((batch.public_id, batch.public_id, batch.public_id[:14]) for batch in made),
    )
    messages.success(request, format_html("{} batches were made: {}.", len(made), links))
