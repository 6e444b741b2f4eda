"""Projects, their members and their API keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from rest_framework_api_key.models import APIKey

from jobs.addresses import AllowList, why_not
from jobs.admin.readonly import ModelAdmin, ModelForm, TabularInline
from jobs.models import Batch, Membership, Project, ProjectKey, StoredFile
from jobs.services.projects import create_key, revoke_keys
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
    readonly_fields = ("created_at", "signing_secret")
    inlines = (MembershipInline,)

    @admin.display(description="webhook secret")
    def signing_secret(self, project: Project) -> str:
        return secret_of(project=project) if project.pk else "made with the project"

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        if not super().has_delete_permission(request, obj):
            return False
        return obj is None or not (
            Batch.every.filter(project=obj).exists()
            or StoredFile.objects.filter(project=obj).exists()
        )


@admin.register(ProjectKey)
class ProjectKeyAdmin(ModelAdmin):
    """Keys are made and revoked, never changed; the primary key holds the hash, so it is not
    shown: rows have no page of their own and are named by their prefix."""

    list_display = ("name", "prefix", "project", "created", "expiry_date", "last_used_at", "state")
    list_display_links = None
    list_filter = ("revoked", "project")
    list_select_related = ("project",)
    search_fields = ("name", "prefix")
    fields = ("name", "project", "expiry_date")
    autocomplete_fields = ("project",)
    actions = ("revoke",)

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

    def save_model(
        self, request: HttpRequest, obj: ProjectKey, form: forms.ModelForm[Any], change: bool
    ) -> None:
        key, secret = create_key(project=obj.project, name=obj.name, expires_at=obj.expiry_date)
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
        count = revoke_keys(keys=queryset.filter(revoked=False))
        messages.success(request, f"{count} keys revoked. They open nothing from now on.")

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
