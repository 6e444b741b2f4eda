"""What was measured, as series of samples, and what the answers of batches add up to."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from jobs.models import Batch, Gpu, Lane, Project, Worker
from monitoring.quantities import SUBJECTS, SeriesKind, Step


def _one_subject() -> Q:
    whole = Q()
    for kind, field in SUBJECTS.items():
        others = {f"{other}__isnull": other != field for other in SUBJECTS.values()}
        whole |= Q(kind=kind, **others)
    return whole


class Series(models.Model):
    """What is measured of one host, GPU, engine or batch, with its latest reading.

    `latest` maps the names of `monitoring.quantities` to numbers; null is what could not be
    read. `detail` holds what has no place in a chart, such as the engine's histograms as
    `{name: {"buckets": [[upper bound, count], ...], "sum": s, "count": n}}` and its counters.
    """

    kind = models.CharField(max_length=8, choices=SeriesKind)
    worker = models.OneToOneField(Worker, on_delete=models.CASCADE, null=True, related_name="+")
    gpu = models.OneToOneField(Gpu, on_delete=models.CASCADE, null=True, related_name="+")
    lane = models.OneToOneField(Lane, on_delete=models.CASCADE, null=True, related_name="+")
    batch = models.OneToOneField(Batch, on_delete=models.CASCADE, null=True, related_name="+")
    # By the database's clock: the last reading that succeeded, and why a later one did not.
    read_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    latest = models.JSONField(default=dict)
    detail = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "series"
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=SeriesKind.values), name="series_kind_known"
            ),
            models.CheckConstraint(condition=_one_subject(), name="series_has_one_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.worker or self.gpu or self.lane or self.batch}"


class Sample(models.Model):
    """The numbers of a series at one moment, or their means over the `step_s` seconds from it.

    `values` stand in the order of `QUANTITIES[kind]`; null is a gap. A series keeps four
    steps side by side, each for its time; a batch's has the thinned one alone.
    """

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="samples")
    step_s = models.PositiveSmallIntegerField(choices=Step)
    at = models.DateTimeField()
    values = ArrayField(models.FloatField(null=True))

    class Meta:
        constraints = [
            # Charts read a stretch of a series; a writer that repeats itself adds nothing.
            models.UniqueConstraint(fields=["series", "step_s", "at"], name="sample_once"),
            models.CheckConstraint(condition=Q(step_s__in=Step.values), name="sample_step_known"),
        ]
        indexes = [
            # Retention: the oldest of each step.
            models.Index(fields=["step_s", "at"], name="sample_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.series_id} at {self.at}"


class BatchSummary(models.Model):
    """What the answers of a batch add up to, as far as `seq`; it follows the answers.

    `histograms` maps a name of `HISTOGRAM_BOUNDS` to `{bucket: count}`, of the good answers;
    bucket 0 is below the first bound, n from the nth on. `finish_reasons` maps a reason to its
    count, `errors` a code to `{"count", "message", "positions"}` of its first lines.
    """

    batch = models.OneToOneField(
        Batch, on_delete=models.CASCADE, primary_key=True, related_name="summary"
    )
    seq = models.BigIntegerField(default=0)
    histograms = models.JSONField(default=dict)
    finish_reasons = models.JSONField(default=dict)
    errors = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "batch summaries"

    def __str__(self) -> str:
        return f"{self.batch} up to {self.seq}"


class LaneUse(models.Model):
    """One engine's work on one batch: what it and its GPUs said before it, and what after.

    `before` and `after` hold the engine's counters and histograms as `Series.detail` does, all
    counted since the engine started, so that their difference is the batch's own if the lane did
    nothing else meanwhile. `energy` maps the UUID of each GPU to what it had used, in joules, at
    `began_at` and at `seen_at`. `fingerprint` says on what it ran, and outlives the lane. What a
    moment's reading is missing, is missing here: null is not measured.
    """

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="lane_uses")
    lane = models.ForeignKey(Lane, on_delete=models.SET_NULL, null=True, related_name="+")
    # One for each engine process of the lane.
    generation = models.PositiveIntegerField()
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    # After the batch's last answer, once the engine was read again.
    closed_at = models.DateTimeField(null=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    energy = models.JSONField(default=list)
    # The lane held lines of other batches too.
    shared = models.BooleanField(default=False)
    fingerprint = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["batch", "lane", "generation"], name="lane_use_once"),
        ]
        indexes = [
            # Each look: what is not closed yet.
            models.Index(fields=["batch"], name="lane_use_open", condition=Q(closed_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.batch} on {self.lane}"

    @property
    def is_from_the_start(self) -> bool:
        """Whether the engine was started for this batch, and so had counted nothing before."""
        return self.before is not None and not self.before["counters"]


class DayTally(models.Model):
    """Requests and tokens of one day, project and model; they stay when a batch is deleted.

    Counted with the summaries, each response once, on the day of its answer by the server's
    time zone. Imported answers are not counted: they were not computed here.
    """

    day = models.DateField()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    model_name = models.CharField(max_length=200)
    completed = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "day tallies"
        constraints = [
            models.UniqueConstraint(fields=["day", "project", "model_name"], name="tally_once"),
        ]

    def __str__(self) -> str:
        return f"{self.model_name} on {self.day}"
