"""Workloads: the requests that a run sends, the same ones for ever."""

from __future__ import annotations

import secrets

from django.db import models
from django.db.models import Q

from jobs.models import Batch, Project, StoredFile


def new_workload_id() -> str:
    return f"workload_{secrets.token_hex(16)}"


class Workload(models.Model):
    """So many requests of a shipped workload, or the lines of a batch of one's own.

    `sha256` is over the bodies of all requests in their order, less the model and what only
    limits how they are computed, so that two workloads are the same if and only if it is equal.
    A shipped one is made anew from its name and `version` for each run; one of a batch has its
    lines in `input_file`, which goes when its owner deletes it. Never updated.
    """

    public_id = models.CharField(
        max_length=64, unique=True, default=new_workload_id, editable=False
    )
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="workloads")
    name = models.CharField(max_length=200)
    # Of a shipped one; 0 is one of a batch.
    version = models.PositiveSmallIntegerField(default=0)
    endpoint = models.CharField(max_length=64)
    requests = models.PositiveIntegerField()
    sha256 = models.BinaryField(max_length=32)
    source_batch = models.ForeignKey(Batch, on_delete=models.SET_NULL, null=True, related_name="+")
    input_file = models.ForeignKey(
        StoredFile, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # A shipped one is entered once for each size, one's own by its name.
            models.UniqueConstraint(
                fields=["project", "name", "version", "requests"], name="workload_once"
            ),
            models.CheckConstraint(condition=Q(requests__gte=1), name="workload_has_requests"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_shipped(self) -> bool:
        return self.version > 0

    @property
    def title(self) -> str:
        """Its name as people tell it apart from others: with version and size."""
        version = f" v{self.version}" if self.is_shipped else ""
        return f"{self.name}{version}, {self.requests:,} requests"
