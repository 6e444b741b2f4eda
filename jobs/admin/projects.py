"""Projects, their members and their API keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME, ActionForm
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from rest_framework_api_key.models import APIKey

from jobs.addresses import AllowList, why_not
from jobs.admin.readonly import ModelAdmin, ModelForm, TabularInline
from jobs.models import Membership, Project, ProjectKey
from jobs.services.limits import PROJECT_LIMITS, limit_of, use_of
from jobs.services.members import add_member, change_member, remove_member
from jobs.services.projects import (
    change_key_limit,
    change_project,
    create_key,
    create_project,
    delete_project,
    is_used,
    revoke_keys,
)
from jobs.services.throttle import RATE_MAX, requests_per_minute
from jobs.services.webhooks import secret_of

# Keys of the library's own kind belong to no project and open nothing here.
if admin.site.is_registered(APIKey):
    admin.site.unregister(APIKey)


class MembershipInline(TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


class ProjectForm(ModelForm):
    """Refuses at once a webhook address that would never be called."""

    def clean_webhook_url(self) -> str:
        url: str = self.cleaned_data["webhook_url"]
        reason = why_not(url, AllowList.read(settings.WEBHOOK_ALLOW)) if url else None
        if reason is not None:
            raise forms.ValidationError(f"This address is not right: {reason}.")
        return url


@admin.register(Project)
class ProjectAdmin(ModelAdmin):
    """A project can be deleted while it is empty: deleting is never a side effect."""

    list_display = ("name", "created_at")
    search_fields = ("name",)
    form = ProjectForm
    readonly_fields = ("created_at", "signing_secret", "takes")
    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("name", "created_at", "webhook_url", "signing_secret")}),
        (
            "Limits",
            {
                "fields": (*PROJECT_LIMITS, "takes"),
                "description": "Empty takes the server's setting; 0 is no limit.",
            },
        ),
    )

    def get_readonly_fields(
        self, request: HttpRequest, obj: Project | None = None
    ) -> tuple[str, ...]:
        own = ("created_at", "signing_secret", "takes")
        return own if request.user.is_superuser else (*own, *PROJECT_LIMITS)

    @admin.display(description="takes now")
    def takes(self, project: Project) -> str:
        if project.pk is None:
            return ""
        use = use_of([project])[project.pk]
        return "; ".join(
            f"{name.removeprefix('max_').replace('_', ' ')}: {use[name]:,} of "
            f"{'any number' if limit is None else f'{limit:,}'}"
            for name in PROJECT_LIMITS
            for limit in [limit_of(project, name)]
        )

    @admin.display(description="webhook secret")
    def signing_secret(self, project: Project) -> str:
        return secret_of(project=project) if project.pk else "made with the project"

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or not is_used(obj))

    def save_model(
        self, request: HttpRequest, obj: Project, form: forms.ModelForm[Any], change: bool
    ) -> None:
        given = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            change_project(project=obj, **given)
        else:
            obj.__dict__.update(create_project(**given).__dict__)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.save(commit=False)
        for member in formset.deleted_objects:
            remove_member(member=member)
        for member, fields in formset.changed_objects:
            # Another user in the same row is another member.
            if "user" in fields:
                remove_member(member=member)
                add_member(project=form.instance, user=member.user, role=member.role)
            else:
                change_member(member=member, role=member.role)
        for member in formset.new_objects:
            add_member(project=form.instance, user=member.user, role=member.role)

    def delete_model(self, request: HttpRequest, obj: Project) -> None:
        delete_project(project=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Project]) -> None:
        for project in queryset:
            delete_project(project=project)


class KeyActionForm(ActionForm):
    """What is done to the selected keys, with the number that one of the actions needs."""

    requests_per_minute = forms.CharField(
        required=False,
        label="Requests a minute",
        widget=forms.TextInput({"size": 8, "placeholder": "setting", "inputmode": "numeric"}),
    )


@admin.register(ProjectKey)
class ProjectKeyAdmin(ModelAdmin):
    """Keys are made, limited and revoked; the primary key holds the hash, so it is not shown:
    rows have no page of their own and are named by their prefix."""

    list_display = (
        "name",
        "prefix",
        "project",
        "limit",
        "created",
        "expiry_date",
        "last_used_at",
        "state",
    )
    list_display_links = None
    list_filter = ("revoked", "project")
    list_select_related = ("project",)
    search_fields = ("name", "prefix")
    autocomplete_fields = ("project",)
    action_form = KeyActionForm
    actions = ("revoke", "set_limit")

    def get_fields(self, request: HttpRequest, obj: ProjectKey | None = None) -> tuple[str, ...]:
        fields = ("name", "project", "expiry_date")
        return (*fields, "requests_per_minute") if request.user.is_superuser else fields

    def has_limit_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: ProjectKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ProjectKey | None = None) -> bool:
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # The key is shown on the page that follows: there is no other way to go on.
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **only_save})

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404("Keys have no page of their own.")

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404("Keys have no page of their own.")

    @admin.display(description="state")
    def state(self, key: ProjectKey) -> str:
        return "revoked" if key.revoked else "expired" if key.has_expired else "usable"

    @admin.display(description="requests a minute")
    def limit(self, key: ProjectKey) -> str:
        limit = requests_per_minute(key)
        return "any number" if limit is None else f"{limit:,}"

    def save_model(
        self, request: HttpRequest, obj: ProjectKey, form: forms.ModelForm[Any], change: bool
    ) -> None:
        key, secret = create_key(
            project=obj.project,
            name=obj.name,
            expires_at=obj.expiry_date,
            requests_per_minute=obj.requests_per_minute,
        )
        # The secret lives as long as this request: no cookie, session or log ever holds it.
        obj.__dict__.update(key.__dict__)
        request.new_api_key = secret  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ProjectKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "API key made",
            "opts": self.opts,
            "key": obj,
            "secret": request.new_api_key,  # type: ignore[attr-defined]
        }
        headers = {"Cache-Control": "no-store"}
        return TemplateResponse(request, "admin/jobs/key_made.html", context, headers=headers)

    def log_addition(self, request: HttpRequest, obj: ProjectKey, message: Any) -> LogEntry:
        return LogEntry.objects.create(
            user_id=int(request.user.pk or 0),
            content_type=ContentType.objects.get_for_model(ProjectKey),
            object_id=None,
            object_repr=f"{obj.name} ({obj.prefix})"[:200],
            action_flag=ADDITION,
            change_message=message,
        )

    @admin.action(description="Revoke the selected keys", permissions=["add"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ProjectKey]) -> None:
        count = revoke_keys(keys=queryset)
        messages.success(request, f"{count} keys revoked. They open nothing from now on.")

    @admin.action(
        description="Set requests a minute (empty: the server's setting, 0: any number)",
        permissions=["limit"],
    )
    def set_limit(self, request: HttpRequest, queryset: QuerySet[ProjectKey]) -> None:
        text = request.POST.get("requests_per_minute", "").strip()
        if text and not (text.isdecimal() and len(text) < 9 and int(text) <= RATE_MAX):
            messages.error(request, f"Requests a minute: a number from 0 to {RATE_MAX:,}.")
            return
        limit = int(text) if text else None
        count = change_key_limit(keys=queryset, requests_per_minute=limit)
        messages.success(request, f"{count} keys changed. It holds from the next request on.")

    @admin.display(description="")
    def action_checkbox(self, obj: ProjectKey) -> SafeString:
        return forms.CheckboxInput(
            {"class": "action-select", "aria-label": f"Select key {obj.prefix}"}
        ).render(ACTION_CHECKBOX_NAME, obj.prefix)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[ProjectKey], *args: Any
    ) -> HttpResponse | None:
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        keys = ProjectKey.objects.filter(prefix__in=chosen).values_list("pk", flat=True)
        post = request.POST.copy()
        post.setlist(ACTION_CHECKBOX_NAME, list(keys))
        request.POST = post  # type: ignore[assignment]
        return super().response_action(request, queryset, *args)
