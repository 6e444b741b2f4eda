"""What each request of the published list costs the database, few rows or many."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from benchmarks.harness.asking import PEOPLE, Askers
from benchmarks.harness.page_list import ADMIN, REQUESTS, find_cursors, find_subjects
from benchmarks.harness.pages import GOOD
from jobs.models import Membership, Project, StoredFile
from jobs.services.audit import note_deed
from jobs.services.projects import get_project
from jobs.states import BatchState
from monitoring.metrics import _collector
from monitoring.quantities import PHASE_RUNNING, SeriesKind, Step
from tests.cast import claim, make_batch, make_gpu, make_person, make_series, make_worker

# One part of the list for each of its pages, so that they can run side by side.
PARTS = sorted({ask.name.split(",")[0].split(":")[0] for ask in REQUESTS})


@pytest.fixture
def project(db) -> Project:
    project, small = get_project(name="ours"), get_project(name="small")
    for by, name in PEOPLE.items():
        person = make_person(name, project=project if by != "viewer" else small)
        person.is_superuser = person.is_staff = by == ADMIN
        person.save()
    Membership.objects.create(project=small, user=make_person("somebody"))
    StoredFile.objects.create(
        public_id="file-0", project=project, purpose="batch", filename="input.jsonl"
    )
    return project


def _fill(project: Project, name: str) -> None:
    """Add a host and a batch of each kind."""
    worker, lane = make_worker(name)
    gpu = make_gpu(worker)
    for kind, subject in (
        (SeriesKind.HOST, worker),
        (SeriesKind.GPU, gpu),
        (SeriesKind.ENGINE, lane),
    ):
        make_series(kind, subject)
    running = make_batch(project=project, texts=["a"], open_lines=3)
    claim(running, lane)
    make_series(SeriesKind.BATCH, running, step=Step.THINNED, phase=PHASE_RUNNING)
    make_batch(project=project, open_lines=2)
    make_batch(project=project, open_lines=2, paused_at=running.created_at)
    make_batch(project=project, state=BatchState.VALIDATING)
    ended = {"ended_at": running.created_at, "metadata": {"name": name}}
    huge = make_batch(
        project=project, state=BatchState.COMPLETED, texts=["a"] * 9, errors=["no"] * 3, **ended
    )
    make_series(SeriesKind.BATCH, huge, step=Step.THINNED)
    make_batch(project=project, state=BatchState.COMPLETED, texts=["a"], **ended)
    make_batch(project=project, state=BatchState.COMPLETED, texts=["a"], errors=["no"], **ended)
    for state in (BatchState.FAILED, BatchState.CANCELLED, BatchState.EXPIRED):
        make_batch(project=project, state=state, **ended)
    make_batch(project=get_project(name="small"), state=BatchState.COMPLETED, texts=["a"], **ended)
    note_deed(action="batch.cancel", target=huge.public_id, project=project)


@pytest.mark.parametrize("part", PARTS)
def test_a_request_costs_what_the_list_says_however_much_there_is(project, part):
    asks = [ask for ask in REQUESTS if ask.name.split(",")[0].split(":")[0] == part]
    askers = Askers(project)

    def costs() -> dict[str, tuple[int, int]]:
        subjects = find_subjects(project)
        found = {}
        for ask in asks:
            address = ask.address({**subjects, **find_cursors(subjects)})
            askers.count_queries(ask.by, address)
            _collector.forget()
            found[ask.name] = askers.count_queries(ask.by, address)
        return found

    cache.clear()
    for number in range(3):
        _fill(project, f"host {number}")
    few = costs()
    for number in range(3):
        _fill(project, f"more {number}")
    many = costs()
    assert few == many
    at_most = {ask.name: ask.queries for ask in asks}
    assert {name: cost for name, cost in many.items() if cost[1] > at_most[name]} == {}
    assert {name: status for name, (status, _) in many.items() if status not in GOOD} == {}
