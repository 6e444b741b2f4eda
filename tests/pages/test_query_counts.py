"""What each request of the published list costs the database: its statements are pinned."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from benchmarks.harness.asking import PEOPLE, Askers
from benchmarks.harness.page_list import ADMIN, REQUESTS, VIEWER, Ask, find_cursors, find_subjects
from benchmarks.harness.pages import GOOD
from benchmarks.services.baselines import baseline_of, pin_baseline
from curation.services.search_index import index_responses
from jobs.models import Membership, Project, StoredFile
from jobs.services.audit import note_deed
from jobs.services.projects import get_project
from jobs.states import BatchState
from monitoring.prometheus.exposition import collector
from monitoring.quantities import PHASE_RUNNING, SeriesKind, Step
from tests.cast import claim, make_batch, make_gpu, make_series, make_worker
from tests.pages.benchmarked import make_run


# One part of the list for each of its pages, so that they can run side by side.
def _part(ask: Ask) -> str:
    """Return which part of the site is asked, so that tests of parts can run side by side."""
    if ask.by == ADMIN or ask.path.startswith("/batches/"):
        return "administration" if ask.by == ADMIN else "a batch"
    return "batches" if ask.path.startswith("/batches") else "the rest"


@pytest.fixture
def project(db) -> Project:
    project, small = get_project(name="ours"), get_project(name="small")
    for by, name in PEOPLE.items():
        person = User.objects.create(username=name, is_superuser=by == ADMIN, is_staff=by == ADMIN)
        Membership.objects.create(project=small if by == VIEWER else project, user=person)
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
    # The same lines, by another model: to be compared.
    make_batch(
        project=project,
        state=BatchState.COMPLETED,
        texts=["b"] * 9,
        errors=["no"] * 3,
        model_name="other",
        **ended,
    )
    make_batch(project=project, state=BatchState.COMPLETED, texts=["a"], **ended)
    make_batch(project=project, state=BatchState.COMPLETED, texts=["a"], errors=["no"], **ended)
    for state in (BatchState.FAILED, BatchState.CANCELLED, BatchState.EXPIRED):
        make_batch(project=project, state=state, **ended)
    make_run(project, state="running", batches=[running])
    scored = {"check": "json", "words": "is JSON", "scored": 9, "share": 0.5, "examples": [1]}
    run = make_run(project, (900, 910, 905), batches=[None, huge], scores=[scored])
    if baseline_of(run) is None:
        pin_baseline(run=run)
    make_batch(project=get_project(name="small"), state=BatchState.COMPLETED, texts=["a"], **ended)
    note_deed(action="batch.cancel", target=huge.public_id, project=project)


# Of each kind of row there are more than any request has statements to spare.
FILLS = 6


@pytest.mark.parametrize("part", ["batches", "a batch", "administration", "the rest"])
def test_a_request_costs_what_the_list_says_and_no_more_for_each_row(project, part):
    for number in range(FILLS):
        _fill(project, f"host {number}")
    index_responses(every=True)
    askers, subjects = Askers(project), find_subjects(project)
    wrong = {}
    for ask in REQUESTS:
        if _part(ask) != part:
            continue
        address = ask.address({**subjects, **find_cursors(subjects)})
        # Once before, for what is kept from one request to the next.
        askers.count_queries(ask.by, address)
        collector.forget()
        status, queries = askers.count_queries(ask.by, address)
        if status not in GOOD or queries > ask.queries:
            wrong[ask.name] = (status, queries, ask.queries)
    assert wrong == {}
