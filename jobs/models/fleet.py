"""Models that are served, and the workers, lanes and GPUs that serve them."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from jobs.states import EngineState, LaneKind


class ServedModel(models.Model):
    """A model that batches may name, and where its answers come from.

    Either `source` (a folder or a hub id, loaded by vLLM on a lane) or `upstream_url` (any
    OpenAI-compatible server) is set. `engine_args` can make vLLM run code, so only superusers
    may set them.
    """

    name = models.CharField(max_length=200, unique=True)
    # More names that the same engine answers to, such as LoRA adapters.
    aliases = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    source = models.CharField(max_length=500, blank=True)
    engine_args = models.TextField(blank=True)
    upstream_url = models.URLField(max_length=500, blank=True)
    upstream_model = models.CharField(max_length=200, blank=True)
    # The name of the environment variable, never the key itself.
    upstream_key_env = models.CharField(max_length=100, blank=True)
    upstream_concurrency = models.PositiveIntegerField(default=64)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "model"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(source="") ^ models.Q(upstream_url=""),
                name="model_has_one_origin",
            ),
            models.CheckConstraint(
                condition=models.Q(upstream_concurrency__gte=1), name="model_concurrency_positive"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_upstream(self) -> bool:
        return bool(self.upstream_url)


class Installation(models.Model):
    """The one row that tells hosts of one installation from strangers.

    `secret_digest` is of the secret key, which must be the same everywhere; `storage_id` stands
    in a file in the storage too, so that a host can see whether it shares the others' files.
    """

    storage_id = models.CharField(max_length=64)
    secret_digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(pk=1), name="installation_is_one"),
        ]

    def __str__(self) -> str:
        return self.storage_id


class Worker(models.Model):
    """A host on which `runworker` runs; alive as long as its heartbeat is young.

    `instance` is the data folder's own id: two folders cannot be one worker at the same time.
    """

    name = models.CharField(max_length=200, unique=True)
    instance = models.CharField(max_length=64, blank=True)
    pid = models.IntegerField(default=0)
    version = models.CharField(max_length=32, blank=True)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    draining = models.BooleanField(default=False)
    stopped_at = models.DateTimeField(null=True, blank=True)
    # Why no GPU is used, or which driver; written by the sampler.
    gpu_note = models.CharField(max_length=500, blank=True)
    sampled_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Lane(models.Model):
    """One GPU, a set of GPUs, the CPU or the upstream door of a worker, with its engine.

    The lane task writes `wanted_model`; the supervisor starts and stops the engine and writes
    the `engine_*` columns. `generation` grows with each engine process, so that neither side
    mistakes an old engine for the present one.
    """

    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="lanes")
    name = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=LaneKind)
    gpus = ArrayField(models.PositiveIntegerField(), default=list, blank=True)
    queue = models.CharField(max_length=255)
    active = models.BooleanField(default=True)
    # When the lane task was last called for, and when it last said that it is at work.
    kicked_at = models.DateTimeField(null=True, blank=True)
    task_seen_at = models.DateTimeField(null=True, blank=True)
    task_token = models.CharField(max_length=32, blank=True)
    wanted_model = models.ForeignKey(
        ServedModel, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    engine_model = models.ForeignKey(
        ServedModel, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    engine_state = models.CharField(max_length=16, choices=EngineState, default=EngineState.STOPPED)
    engine_progress = models.CharField(max_length=300, blank=True)
    engine_error = models.TextField(blank=True)
    # Why no engine is started just now, though one is wanted: a GPU too hot or too full.
    start_held_back = models.CharField(max_length=500, blank=True)
    engine_socket = models.CharField(max_length=255, blank=True)
    engine_pid = models.IntegerField(null=True, blank=True)
    engine_version = models.CharField(max_length=64, blank=True)
    # The arguments that it was started with, and which weights it loaded; empty is not known.
    engine_args = models.TextField(blank=True, db_default="")
    engine_revision = models.CharField(max_length=100, blank=True, db_default="")
    # How many requests it runs at once; the lane keeps a few more in flight.
    engine_max_num_seqs = models.PositiveIntegerField(default=256)
    engine_started_at = models.DateTimeField(null=True, blank=True)
    engine_ready_at = models.DateTimeField(null=True, blank=True)
    generation = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["worker", "name"], name="lane_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=LaneKind.values), name="lane_kind_known"
            ),
            models.CheckConstraint(
                condition=models.Q(engine_state__in=EngineState.values),
                name="lane_engine_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.worker}/{self.name}"


class LaneModel(models.Model):
    """What a lane knows of a model: how long it takes to load, and why it did not.

    Of an upstream model: how many requests at once it takes, and why it takes none.
    """

    lane = models.ForeignKey(Lane, on_delete=models.CASCADE, related_name="known_models")
    model = models.ForeignKey(ServedModel, on_delete=models.CASCADE, related_name="+")
    load_s = models.FloatField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["lane", "model"], name="lane_model_once")]

    def __str__(self) -> str:
        return f"{self.model} on {self.lane}"


class Gpu(models.Model):
    """The latest reading of one GPU; `read_at` says how old it is."""

    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="gpus")
    index = models.PositiveIntegerField()
    uuid = models.CharField(max_length=100, blank=True)
    name = models.CharField(max_length=200)
    driver = models.CharField(max_length=64, blank=True)
    utilization_percent = models.FloatField(null=True)
    memory_used_bytes = models.BigIntegerField(null=True)
    memory_total_bytes = models.BigIntegerField(null=True)
    temperature_c = models.FloatField(null=True)
    power_w = models.FloatField(null=True)
    power_limit_w = models.FloatField(null=True)
    clock_sm_mhz = models.FloatField(null=True)
    clock_memory_mhz = models.FloatField(null=True)
    # In words, the idle ones left out; empty is none, null is not known.
    throttle_reasons = ArrayField(models.CharField(max_length=64), null=True)
    # What it has used since the driver was loaded.
    energy_j = models.FloatField(null=True)
    # `[{"pid", "name", "memory_bytes"}]`, null where the driver does not say.
    processes = models.JSONField(null=True)
    error = models.CharField(max_length=500, blank=True)
    read_at = models.DateTimeField()

    class Meta:
        verbose_name = "GPU"
        constraints = [models.UniqueConstraint(fields=["worker", "index"], name="gpu_once")]

    def __str__(self) -> str:
        return f"{self.worker} GPU {self.index}"
