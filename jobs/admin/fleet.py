"""Models that are served, and the workers, lanes and GPUs that serve them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.admin.readonly import ModelAdmin, ReadOnly, ReadOnlyAdmin, TabularInline
from jobs.models import Gpu, Installation, Lane, LaneModel, ServedModel, Worker
from jobs.services.fleet import alive_workers
from jobs.services.lanes import retry_now
from jobs.services.served_models import change_model, live_batches, remove_model, save_model

# They decide which program runs, with which code, and where keys and prompts are sent.
POWERFUL = (
    "source",
    "engine_args",
    "upstream_url",
    "upstream_model",
    "upstream_key_env",
)


@admin.register(ServedModel)
class ServedModelAdmin(ModelAdmin):
    list_display = ("name", "source", "upstream_url", "enabled", "created_at")
    list_filter = ("enabled",)
    search_fields = ("name", "source")
    fieldsets = (
        (None, {"fields": ("name", "aliases", "enabled")}),
        ("Loaded by an engine of ours", {"fields": ("source", "engine_args")}),
        (
            "Or asked of another server",
            {
                "fields": (
                    "upstream_url",
                    "upstream_model",
                    "upstream_key_env",
                    "upstream_concurrency",
                )
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def get_readonly_fields(
        self, request: HttpRequest, obj: ServedModel | None = None
    ) -> tuple[str, ...]:
        return () if request.user.is_superuser else POWERFUL

    def save_model(
        self, request: HttpRequest, obj: ServedModel, form: forms.ModelForm[Any], change: bool
    ) -> None:
        if change:
            given = {name: form.cleaned_data[name] for name in form.changed_data}
            change_model(model=obj, **given)
        else:
            obj.__dict__.update(save_model(**form.cleaned_data).model.__dict__)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        named = [f"{model}; answers that it gave are kept" for model in objs]
        protected = [f"{model}: live batches name it" for model in objs if live_batches(model)]
        missing = set() if request.user.has_perm("jobs.delete_servedmodel") else {"model"}
        return named, {"models": len(named)}, missing, protected

    def delete_model(self, request: HttpRequest, obj: ServedModel) -> None:
        remove_model(name=obj.name)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        for model in queryset:
            remove_model(name=model.name)


class LaneInline(ReadOnly, TabularInline):
    model = Lane
    extra = 0
    fields = ("name", "kind", "gpus", "active", "engine_model", "engine_state", "engine_progress")
    show_change_link = True


class GpuInline(ReadOnly, TabularInline):
    model = Gpu
    extra = 0
    fields = ("index", "name", "utilization_percent", "memory_used_bytes", "error", "read_at")


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """One that is gone for good can be deleted; one that is alive cannot."""

    list_display = ("name", "version", "heartbeat_at", "draining", "stopped_at")
    inlines = (LaneInline, GpuInline)

    def has_delete_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        if not request.user.has_perm("jobs.delete_worker"):
            return False
        return obj is None or not alive_workers().filter(pk=obj.pk).exists()

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        named = [f"{worker} with its lanes and GPU readings; answers are kept" for worker in objs]
        alive = [f"{w} is alive" for w in objs if not self.has_delete_permission(request, w)]
        return named, {"workers": len(named)}, set(), alive


@admin.register(Lane)
class LaneAdmin(ReadOnlyAdmin):
    list_display = (
        "worker",
        "name",
        "kind",
        "active",
        "engine_model",
        "engine_state",
        "task_seen_at",
    )
    list_display_links = ("name",)
    list_filter = ("active", "kind", "engine_state")
    list_select_related = ("worker", "engine_model")


@admin.register(LaneModel)
class LaneModelAdmin(ReadOnlyAdmin):
    list_display = ("lane", "model", "load_s", "failures", "retry_at", "last_error")
    list_select_related = ("lane__worker", "model")
    actions = ("retry",)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_lanemodel")

    @admin.action(description="Try to load the selected now", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[LaneModel]) -> None:
        count = retry_now(known=queryset)
        messages.success(request, f"{count} models are tried again as soon as a batch needs them.")


@admin.register(Gpu)
class GpuAdmin(ReadOnlyAdmin):
    list_display = (
        "worker",
        "index",
        "name",
        "utilization_percent",
        "memory_used_bytes",
        "temperature_c",
        "power_w",
        "error",
        "read_at",
    )
    list_display_links = ("name",)
    list_select_related = ("worker",)


@admin.register(Installation)
class InstallationAdmin(ReadOnlyAdmin):
    list_display = ("storage_id", "created_at")
    exclude = ("secret_digest",)
