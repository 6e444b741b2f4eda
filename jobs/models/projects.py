"""Projects, who belongs to them, and the keys that act for them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from rest_framework_api_key.models import AbstractAPIKey


class Project(models.Model):
    """What files, batches and keys belong to; what belongs to another one cannot be seen."""

    name = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # Told of every batch that ends, besides the batch's own address; the secret signs both.
    webhook_url = models.URLField(max_length=2000, blank=True)
    webhook_secret = models.CharField(max_length=100, blank=True, editable=False)
    # Limits: empty takes the setting's value, 0 is none.
    max_live_batches = models.PositiveIntegerField(null=True, blank=True)
    max_queued_requests = models.PositiveBigIntegerField(null=True, blank=True)
    max_queued_tokens = models.PositiveBigIntegerField(null=True, blank=True)
    max_stored_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="projects"
    )

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"


class Membership(models.Model):
    """What a user may do in a project; scopes the pages and `/api/*`."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    role = models.CharField(max_length=16, choices=Role, default=Role.MEMBER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}"


class ProjectKey(AbstractAPIKey):
    """An API key: kept as a hash, shown once, revocable, with an optional expiry.

    Its primary key contains the hash, so nothing else refers to it.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="keys")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Requests a minute: empty takes the setting's value, 0 is no limit.
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    # When the key's bucket is full again (the generic cell rate algorithm's only state).
    rate_full_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "API key"
        verbose_name_plural = "API keys"
