"""Rows as readers see them: what was deleted is not there, although its rows may still go."""

from __future__ import annotations

from typing import TypeVar

from django.db import models

M = TypeVar("M", bound=models.Model)


class Kept(models.Manager[M]):
    """Leaves out what was deleted; as a model's first manager every reader goes through it."""

    def get_queryset(self) -> models.QuerySet[M]:
        return super().get_queryset().filter(deleted_at__isnull=True)
