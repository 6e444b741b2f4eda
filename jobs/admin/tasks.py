"""The task queue's own tables: looked at only.

A task is a doorbell and is rung again by itself; a schedule names code to run.
"""

from __future__ import annotations

from django.contrib import admin
from django_q.admin import FailAdmin, QueueAdmin, ScheduleAdmin, TaskAdmin
from django_q.models import Failure, OrmQ, Schedule, Success

from jobs.admin.readonly import ReadOnly

admin.site.unregister([Success, Failure, OrmQ, Schedule])


@admin.register(Success)
class SuccessAdmin(ReadOnly, TaskAdmin):  # type: ignore[misc]
    actions = None


@admin.register(Failure)
class FailureAdmin(ReadOnly, FailAdmin):  # type: ignore[misc]
    actions = None


@admin.register(OrmQ)
class QueuedAdmin(ReadOnly, QueueAdmin):  # type: ignore[misc]
    actions = None


@admin.register(Schedule)
class PlannedAdmin(ReadOnly, ScheduleAdmin):  # type: ignore[misc]
    actions = None
