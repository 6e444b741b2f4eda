"""Runs of workloads, the batches that they are made of, and the runs that others are held to."""

from __future__ import annotations

import secrets

from django.db import models
from django.db.models import Q

from benchmarks.models.workloads import Workload
from jobs.models import Batch, Project, ServedModel


def new_run_id() -> str:
    return f"bench_{secrets.token_hex(16)}"


class RunState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SCORING = "scoring"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE = (RunState.QUEUED, RunState.RUNNING, RunState.SCORING)


class RunKind(models.TextChoices):
    """Who measured: vbatch itself, vLLM's `run-batch` beside it, or a tool elsewhere."""

    MEASURED = "measured"
    RUN_BATCH = "run-batch"
    IMPORTED = "imported"


class Run(models.Model):
    """A workload on a model, as often as asked, one ordinary batch after the other.

    ::

        queued -> running -> (scoring ->) completed
        queued | running | scoring -> failed | cancelled

    `figures` are what is said of the run as a whole: of each figure the median of its parts.
    They are measured, never estimated, and stay when the batches go. `fingerprint` says on what
    they were measured. An imported run has neither parts nor a fingerprint of ours, and the
    file's own content in `imported`.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_run_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="benchmark_runs")
    kind = models.CharField(max_length=16, choices=RunKind, default=RunKind.MEASURED)
    state = models.CharField(max_length=16, choices=RunState, default=RunState.QUEUED)
    workload = models.ForeignKey(
        Workload, on_delete=models.RESTRICT, null=True, related_name="runs"
    )
    model_name = models.CharField(max_length=200)
    model = models.ForeignKey(ServedModel, on_delete=models.SET_NULL, null=True, related_name="+")
    repeats = models.PositiveSmallIntegerField(default=1)
    # Checks of the answers: `[{"kind": "json"}, {"kind": "regex", "pattern": "..."}, ...]`.
    checks = models.JSONField(default=list)
    # What a GPU costs for an hour, in the user's currency.
    price_per_gpu_hour = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    figures = models.JSONField(default=dict)
    fingerprint = models.JSONField(default=dict)
    scores = models.JSONField(default=list)
    # Name of the tool and its file, of an imported run and of vLLM's own.
    tool = models.CharField(max_length=100, blank=True)
    imported = models.JSONField(null=True)
    # In which a model judges the answers.
    judge_batch = models.ForeignKey(Batch, on_delete=models.SET_NULL, null=True, related_name="+")
    judge_public_id = models.CharField(max_length=64, blank=True)
    # Of a run beside one of ours: the run with which it was made.
    beside = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="rivals")
    note = models.CharField(max_length=500, blank=True)
    error = models.CharField(max_length=1_000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by_name = models.CharField(max_length=200)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="run_state_known"),
            models.CheckConstraint(condition=Q(kind__in=RunKind.values), name="run_kind_known"),
            models.CheckConstraint(condition=Q(repeats__gte=1), name="run_has_repeats"),
            models.CheckConstraint(
                condition=Q(kind="imported") | Q(workload__isnull=False), name="run_has_workload"
            ),
        ]
        indexes = [
            # A project's runs, newest first.
            models.Index(fields=["project", "-id"], name="run_of_project"),
            # Those like one another: trend, baseline, comparison.
            models.Index(fields=["workload", "model_name", "-id"], name="run_of_workload"),
            # What the task goes on with.
            models.Index(fields=["id"], name="run_live", condition=Q(state__in=LIVE)),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_live(self) -> bool:
        return self.state in LIVE


class RunPart(models.Model):
    """One batch of a run; repeat 0 warms the engine up and is not measured.

    A batch is made once the part before it has ended. `figures` are null until it has ended and
    its lanes were read after it.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="parts")
    repeat = models.PositiveSmallIntegerField()
    batch = models.OneToOneField(
        Batch, on_delete=models.SET_NULL, null=True, related_name="benchmark_part"
    )
    batch_public_id = models.CharField(max_length=64, blank=True)
    figures = models.JSONField(null=True)
    fingerprint = models.JSONField(default=dict)
    measured_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "repeat"], name="run_part_once"),
        ]

    def __str__(self) -> str:
        return f"{self.run} repeat {self.repeat}"


class Baseline(models.Model):
    """The run that later ones of its workload and model are held against; pinned by hand."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    workload = models.ForeignKey(Workload, on_delete=models.CASCADE, related_name="+")
    model_name = models.CharField(max_length=200)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    pinned_at = models.DateTimeField(auto_now=True)
    pinned_by_name = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "workload", "model_name"], name="baseline_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run} for {self.workload} on {self.model_name}"
