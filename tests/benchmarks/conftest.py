"""The cast of the benchmarks' tests: a project, its owner, a model, and a lane that answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from benchmarks.models import Run, RunPart
from benchmarks.services import runs
from jobs import tasks
from jobs.answers import read_answer
from jobs.models import Batch, BatchResponse, Lane, Project, ServedModel
from jobs.services.chunks import claim_chunks, read_open_lines
from jobs.services.projects import create_key, get_project
from jobs.services.responses import Finished, commit_responses
from monitoring.models import Series
from monitoring.services.batch_samples import sample_batches
from tests.cast import get_model, make_person, make_worker

CPU = {"cpu": "Test CPU", "cores": 2}


@pytest.fixture
def ours(db) -> Project:
    return get_project(name="ours")


@pytest.fixture
def model(db) -> ServedModel:
    return get_model()


@pytest.fixture
def lane(model) -> Lane:
    worker, lane = make_worker()
    Series.objects.create(kind="host", worker=worker, detail=CPU, read_at=timezone.now())
    return lane


@pytest.fixture
def http(ours) -> Client:
    """The browser of the project's owner."""
    client = Client()
    client.force_login(make_person("owner", project=ours))
    return client


@pytest.fixture
def key(ours) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_key(project=ours, name='test')[1]}"}


@pytest.fixture(autouse=True)
def _own_folders(settings, tmp_path):
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path / "files"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "files" / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)


@dataclass
class Engine:
    """A lane that answers what waits, and the sampler that looks at it before and after."""

    lane: Lane
    tokens_per_s: float = 1_000.0
    counted: int = 0

    def answer(self, batch: Batch, text: str = "{}", refuse: int = 0) -> None:
        """Validate a batch and answer it as fast as `tokens_per_s` says; refuse the first lines."""
        tasks.validate(batch.pk)
        batch.refresh_from_db()
        assert batch.state == "in_progress", batch.findings
        self._read()
        chunks = claim_chunks(lane_id=self.lane.pk, model_id=batch.model_id or 0, limit=100)
        self._sample()
        body = (
            b'{"choices":[{"message":{"content":%s},"finish_reason":"stop"}],'
            b'"usage":{"prompt_tokens":10,"completion_tokens":100}}' % json.dumps(text).encode()
        )
        finished = [
            Finished(
                request_id=line.request_id,
                position=line.position,
                custom_id=line.custom_id,
                answer=read_answer(200, body)
                if line.position >= refuse
                else read_answer(400, b'{"error": {"message": "It is too long.", "code": 400}}'),
                latency_ms=200,
                chunk=chunk,
            )
            for chunk in chunks
            for line in read_open_lines(chunk)
        ]
        commit_responses(lane_id=self.lane.pk, finished=finished, held=chunks, done=chunks)
        self._spread(batch)
        self.counted += 100 * sum(one.answer.ok for one in finished)
        self._read()
        self._sample()

    def _spread(self, batch: Batch) -> None:
        """Give each answer the moment at which this engine would have given it."""
        start = timezone.now() - timedelta(seconds=0.2)
        for row in BatchResponse.objects.filter(batch=batch):
            at = start + timedelta(seconds=0.2 + row.seq * 100 / self.tokens_per_s)
            BatchResponse.objects.filter(pk=row.pk).update(created_at=at)

    def _read(self) -> None:
        figures = {"counters": {"generation_tokens": self.counted}, "histograms": {}}
        Series.objects.update_or_create(
            kind="engine",
            lane=self.lane,
            defaults={
                "read_at": timezone.now() + timedelta(seconds=5),
                "detail": {"generation": self.lane.generation, **figures, "before": figures},
            },
        )

    def _sample(self) -> None:
        sample_batches()


@pytest.fixture
def engine(lane) -> Engine:
    return Engine(lane)


@pytest.fixture
def finish(engine) -> Callable[..., Run]:
    """Take a run to its end, each repeat as fast as it is told."""

    def finish(run: Run, *rates: float, text: str = "{}") -> Run:
        for repeat in range(run.repeats + 1):
            runs.go_on()
            part = RunPart.objects.select_related("batch").get(run=run, repeat=repeat)
            assert part.batch is not None, Run.objects.get(pk=run.pk).error
            engine.tokens_per_s = rates[min(repeat, len(rates) - 1)] if rates else 1_000.0
            engine.answer(part.batch, text)
        runs.go_on()
        run.refresh_from_db()
        return run

    return finish
