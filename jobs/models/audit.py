"""Who did what to keys, models, batches and limits."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from jobs.models.projects import Project


class AuditEntry(models.Model):
    """One deed of a person, a key or a command; append-only.

    `actor` is in words and stays when the user goes; `details` holds what was changed, never a
    secret and never a prompt.
    """

    created_at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, related_name="+")
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=300)
    details = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            # What was done to one thing.
            models.Index(fields=["target", "-id"], name="audit_of_target"),
            # Keeping them for as long as was asked.
            models.Index(fields=["created_at"], name="audit_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.target}"
