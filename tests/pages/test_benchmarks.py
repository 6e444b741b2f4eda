"""The pages of benchmarks: what they show, to whom, and what can be started there."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from benchmarks.models import Run, RunPart, RunState, Workload
from benchmarks.services.baselines import baseline_of, pin_baseline
from benchmarks.views.runs import PAGE_RUNS
from jobs.services.projects import get_project
from jobs.states import BatchState
from tests.cast import get_model, make_batch, make_worker
from tests.pages.benchmarked import FINGERPRINT, H100, make_import, make_run, make_workload

pytestmark = pytest.mark.django_db
SLOWER = (880, 885, 875, 890, 870)


def _text(answer) -> str:
    return answer.content.decode()


def _shown(page, run: Run) -> str:
    """Return the row of a run in the list."""
    rows = _text(page.get("/benchmarks")).split("<tr ")
    return next(row for row in rows if run.public_id in row)


@pytest.mark.parametrize(
    "path",
    ["", "/live", "/cancel", "/pin", "/unpin"],
)
def test_foreign_runs_are_not_there(strange_page, project, path):
    run = make_run(project)
    address = f"/benchmarks/{run.public_id}{path}"
    ask = strange_page.post if path in ("/cancel", "/pin", "/unpin") else strange_page.get
    assert ask(address).status_code == 404
    assert run.public_id not in _text(strange_page.get("/benchmarks"))
    other = make_run(get_project(name="theirs"))
    compared = strange_page.get(f"/benchmarks/compare?runs={other.public_id},{run.public_id}")
    assert "There is no run" in _text(compared) and "What changed" not in _text(compared)


def test_viewers_may_look_and_not_start(viewer_page, project, own_files):
    get_model()
    run = make_run(project)
    batch = make_batch(project=project, state=BatchState.COMPLETED, texts=["a"])
    assert viewer_page.get(f"/benchmarks/{run.public_id}").status_code == 200
    assert "New run" not in _text(viewer_page.get("/benchmarks"))
    assert "Use as workload" not in _text(viewer_page.get(f"/batches/{batch.public_id}"))
    for path in ("/benchmarks/new", "/benchmarks/import", f"/batches/{batch.public_id}/workload"):
        assert viewer_page.get(path).status_code == 403, path
        assert viewer_page.post(path, {"complete": "1"}).status_code == 403, path
    for verb in ("cancel", "pin", "unpin"):
        assert viewer_page.post(f"/benchmarks/{run.public_id}/{verb}").status_code == 403


def test_the_list_tells_speed_latency_hardware_and_verdict(page, project):
    base = make_run(project, fingerprint={**FINGERPRINT, "gpus": [H100, H100]})
    pin_baseline(run=base)
    slow = make_run(project, SLOWER, fingerprint={**FINGERPRINT, "gpus": [H100, H100]})
    unlike = make_run(project, SLOWER)
    row = _shown(page, slow)
    for words in (">880<", "440 per GPU", "13.8", "p99 2,273 ms", "regressed", "−12 %", "0.32.0"):
        assert words in row, words
    assert "baseline" in _shown(page, base)
    assert "not alike" in _shown(page, unlike) and "other GPUs" in _shown(page, unlike)


def test_a_run_at_work_shows_its_repeat_and_the_progress_of_its_batch(page, project):
    batch = make_batch(project=project, texts=["a"] * 3, open_lines=4)
    run = make_run(project, (1, 1), state=RunState.RUNNING, batches=[None, batch])
    RunPart.objects.filter(run=run, repeat=0).update(measured_at=timezone.now())
    for path in ("/benchmarks/live", f"/benchmarks/{run.public_id}/live"):
        live = page.get(path)
        assert "repeat 1 of 2" in _text(live) and "<b>3</b> of 7" in _text(live)
        assert page.get(path, headers={"If-None-Match": live["ETag"]}).status_code == 304
    assert "waits for a worker: none" in _text(page.get(f"/benchmarks/{run.public_id}"))


def test_filters_narrow_and_stand_in_the_chips(page, project):
    chat = make_run(project)
    other = make_run(project, workload=make_workload(project, "embeddings"), model_name="large")
    failed = make_run(project, state=RunState.FAILED, error="It broke.")
    imported = make_import(project)
    for query, found in (
        (f"workload={other.workload.public_id}", [other]),
        ("model=large", [other]),
        ("state=failed", [failed]),
        ("kind=imported", [imported]),
        ("kind=measured&state=done&model=small", [chat]),
        ("kind=nonsense&state=nonsense", [chat, other, failed, imported]),
    ):
        text = _text(page.get(f"/benchmarks?{query}"))
        for run in (chat, other, failed, imported):
            assert (f'data-key="{run.public_id}"' in text) == (run in found), (
                query,
                run.model_name,
            )
    assert "No run is like that" in _text(page.get("/benchmarks?model=none"))
    assert page.get("/benchmarks?model=%00&workload=%00&before=x").status_code == 200


def test_pages_lead_to_the_oldest_run_and_back(page, project):
    workload = make_workload(project)
    runs = Run.objects.bulk_create(
        [Run(project=project, workload=workload, model_name=f"m{n}") for n in range(PAGE_RUNS + 3)]
    )
    first = page.get("/benchmarks").context
    assert [run.pk for run, _ in first["rows"]] == [run.pk for run in runs[:2:-1]]
    assert first["count"] == PAGE_RUNS + 3 and not first["newer"]
    second = page.get(f"/benchmarks{first['older']}").context
    assert [run.pk for run, _ in second["rows"]] == [run.pk for run in runs[2::-1]]
    assert not second["older"]
    back = page.get(f"/benchmarks{second['newer']}").context
    assert [run.pk for run, _ in back["rows"]] == [run.pk for run, _ in first["rows"]]


def test_the_course_of_a_workload_marks_what_changed(page, project):
    make_run(project, fingerprint={**FINGERPRINT, "vllm": "0.31.0"})
    make_run(project)
    last = make_run(project, fingerprint={**FINGERPRINT, "gpus": [H100, H100]})
    text = _text(page.get(f"/benchmarks?workload={last.workload.public_id}"))
    assert "<bdi>0.31.0</bdi> → <bdi>0.32.0</bdi>" in text
    assert "<bdi>1 × NVIDIA H100 80GB HBM3</bdi> → <bdi>2 × NVIDIA H100 80GB HBM3</bdi>" in text
    assert text.count('class="course ') == 1, "no line leads from one hardware to another"
    alone = make_run(project, workload=make_workload(project, "alone"))
    text = _text(page.get(f"/benchmarks?workload={alone.workload.public_id}"))
    assert "once two runs of it have been completed" in text


def test_speed_stands_against_quality_by_the_check_that_is_chosen(page, project):
    def scores(share: float) -> list[dict]:
        one = {"check": "json", "words": "is JSON", "scored": 10, "share": share, "examples": []}
        return [one, {**one, "words": "is short", "share": 1 - share}]

    fast = make_run(project, (2_000,), model_name="fast", scores=scores(0.5))
    make_run(project, (1_000,), model_name="good", scores=scores(0.9))
    make_run(project, (900,), model_name="beaten", scores=scores(0.4))
    make_run(project, (5_000,), model_name="older", scores=scores(1.0))
    elsewhere = {**FINGERPRINT, "gpus": [H100, H100]}
    make_run(project, (9_000,), model_name="elsewhere", scores=scores(1.0), fingerprint=elsewhere)
    make_run(project, (100,), model_name="older", scores=scores(0.1))
    address = f"/benchmarks?workload={fast.workload.public_id}"
    plot = page.get(address).context["pareto"]
    assert {dot.run.model_name for dot in plot.dots if dot.best} == {"fast", "good"}
    assert {dot.run.model_name for dot in plot.dots} == {"fast", "good", "beaten", "older"}
    assert plot.left_out == 1 and "1 model with runs on other hardware" in _text(page.get(address))
    other = page.get(f"{address}&score=is+short").context["pareto"]
    assert {dot.run.model_name for dot in other.dots if dot.best} == {"fast", "beaten", "older"}


def test_a_run_shows_all_that_was_measured_and_what_was_not(page, project):
    done = make_batch(project=project, state=BatchState.COMPLETED, texts=["a"] * 9)
    score = {"check": "json", "words": "is JSON", "scored": 9, "passed": 8, "examples": [4]}
    run = make_run(
        project,
        batches=[None, None, None, None, None, done],
        scores=[{**score, "share": 8 / 9}],
        price_per_gpu_hour=Decimal("2.5"),
    )
    text = _text(page.get(f"/benchmarks/{run.public_id}"))
    for words in (
        "medians of 5 repeats",
        "Steady part",
        "Time to first token",
        "the engine&#x27;s histogram",
        "What is missing was not measured",
        "at 2.5 an hour of a GPU",
        "580.95.05",
        "88.9 %",
        f"/batches/{done.public_id}/lines/4",
        f"/api/benchmarks/{run.public_id}?format=csv",
    ):
        assert words in text, words
    assert "an engine was lost" not in text
    disturbed = {"interrupted_repeats": [2], "shared_repeats": [1, 3]}
    Run.objects.filter(pk=run.pk).update(
        figures={
            **run.figures,
            **disturbed,
            "energy_valid": False,
            "energy_note": "read over 1 s of 9 s",
        }
    )
    text = _text(page.get(f"/benchmarks/{run.public_id}"))
    assert "In repeat 2 an engine was lost" in text and "In repeats 1 and 3 the lane" in text
    assert "not valid: read over 1 s of 9 s" in text and "J / token" not in text


def test_a_judge_at_work_is_shown_and_what_it_found(page, project):
    judging = make_batch(project=project, texts=["8"], open_lines=3)
    run = make_run(project)
    Run.objects.filter(pk=run.pk).update(state=RunState.SCORING, judge_batch=judging)
    text = _text(page.get(f"/benchmarks/{run.public_id}/live"))
    assert "a model judges the answers" in text and "<b>1</b> of 4" in text
    found = {"check": "judge", "words": "score by m, 1 to 10", "scored": 3, "unread": 1}
    scores = [{**found, "mean": 7.25, "share": 0.725, "examples": []}]
    Run.objects.filter(pk=run.pk).update(state=RunState.COMPLETED, scores=scores)
    text = _text(page.get(f"/benchmarks/{run.public_id}"))
    assert "7.25 of 10" in text and "1 unread" in text and "the answer score" not in text


def test_a_run_without_a_good_answer_has_regressed_in_that(page, project):
    base, bad = make_run(project), make_run(project)
    none = {"success_rate": 0.0, "completed": 0}
    RunPart.objects.filter(run=bad).update(figures={**bad.figures, **none})
    Run.objects.filter(pk=bad.pk).update(figures={**bad.figures, **none})
    compared = page.get(f"/benchmarks/compare?runs={base.public_id},{bad.public_id}").context
    verdicts = {one.metric.path: one.verdict.name for one in compared["comparison"].verdicts}
    assert verdicts["success_rate"] == "regressed"
    turned = page.get(f"/benchmarks/compare?runs={bad.public_id},{base.public_id}").context
    assert "success_rate" not in [one.metric.path for one in turned["comparison"].verdicts]


def test_a_run_is_pinned_held_against_and_unpinned(page, project):
    base, slow = make_run(project), make_run(project, SLOWER)
    page.post(f"/benchmarks/{base.public_id}/pin")
    assert baseline_of(slow) == base
    text = _text(page.get(f"/benchmarks/{slow.public_id}"))
    assert "Against the baseline" in text and "regressed" in text
    page.post(f"/benchmarks/{base.public_id}/unpin")
    assert "Against the baseline" not in _text(page.get(f"/benchmarks/{slow.public_id}"))
    failed = make_run(project, state=RunState.FAILED)
    answer = page.post(f"/benchmarks/{failed.public_id}/pin", follow=True)
    assert "Only a completed run" in _text(answer)


def test_a_run_is_cancelled_once(page, project):
    run = make_run(project, state=RunState.QUEUED)
    page.post(f"/benchmarks/{run.public_id}/cancel")
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    answer = page.post(f"/benchmarks/{run.public_id}/cancel", follow=True)
    assert "Nothing was cancelled: the run is cancelled" in _text(answer)


def test_a_plan_is_marked_as_an_estimate_and_names_its_run(page, project):
    run = make_run(project)
    text = _text(page.get(f"/benchmarks/{run.public_id}?requests=1000000&factor=2"))
    assert "≈ 8 h 20 min" in text and "supposing that 2 times the hardware" in text
    assert page.get(f"/benchmarks/{run.public_id}?requests=x&factor=0").status_code == 200


def test_the_form_estimates_from_the_last_run_of_its_kind(page, strange_page, project):
    make_run(project)
    run = make_run(project, SLOWER)
    asked = {"workload": "short-chat", "requests": "52800", "repeats": "5", "model": "small"}

    def told(by=page, **change):
        return _text(by.get("/benchmarks/new/estimate", {**asked, **change}))

    # 52,800 requests five times, at the steady 14.67 a second of the slower one.
    assert '≈ <span class="num">5 h</span>' in told() and run.public_id in told()
    assert '≈ <span class="num">1 h</span>' in told(repeats="1")
    assert "not known yet" not in told(requests=""), "as many as are shipped"
    for change in (
        {"workload": "long-prompt"},
        {"model": "other"},
        {"workload": "none\0"},
        {"by": strange_page},
    ):
        assert "not known yet" in told(**change), change
    own = make_workload(project, "mine", version=0, requests=100)
    made = make_run(project, workload=own)
    assert made.public_id in told(workload=own.public_id, requests="7")


def test_two_runs_are_compared_or_it_says_why_they_are_not(page, project):
    before, after = make_run(project), make_run(project, SLOWER)
    other = make_run(project, workload=make_workload(project, "long-prompt"))
    text = _text(page.get(f"/benchmarks/compare?runs={before.public_id},{after.public_id}"))
    assert "What changed" in text and "−12 %" in text and "their fingerprints" in text.lower()
    turned = page.get(f"/benchmarks/compare?runs={after.public_id},{before.public_id}")
    assert "improved" in _text(turned)
    ticked = page.get(f"/benchmarks/compare?ids={after.public_id}+{before.public_id}")
    assert ticked.context["baseline"] == before, "of ticked ones the older was there before"
    text = _text(page.get(f"/benchmarks/compare?runs={before.public_id},{other.public_id}"))
    assert "They cannot be compared" in text and "They sent other requests" in text
    chosen = page.get(f"/benchmarks/compare?runs={after.public_id}").context
    assert (chosen["first"], chosen["second"]) == (before.pk, after.pk)
    assert page.get("/benchmarks/compare?runs=%00,bench_1").status_code == 200


def test_a_run_is_started_from_the_form(page, project, own_files):
    get_model()
    make_worker()
    assert "No worker is alive" not in _text(page.get("/benchmarks/new"))
    form = {
        "project": str(project.pk),
        "workload": "short-chat",
        "requests": "20",
        "model": "small",
        "repeats": "3",
        "price": "1.25",
        "json": "on",
        "regex": "^A",
        "json_schema": '{"type": "object"}',
        "judge": "small",
        "criteria": "Is it short?",
        "note": "a try",
    }
    answer = page.post("/benchmarks/new", form)
    run = Run.objects.get()
    assert answer["Location"] == f"/benchmarks/{run.public_id}"
    assert (run.workload.requests, run.repeats, run.note) == (20, 3, "a try")
    assert run.price_per_gpu_hour == Decimal("1.25")
    assert run.checks == [
        {"kind": "json"},
        {"kind": "regex", "pattern": "^A"},
        {"kind": "json_schema", "schema": {"type": "object"}},
        {"kind": "judge", "model": "small", "criteria": "Is it short?"},
    ]
    again = page.get(f"/benchmarks/new?like={run.public_id}").context["given"]
    for name in ("workload", "model", "json", "regex", "judge", "criteria"):
        assert again[name] == form[name], name
    assert (again["requests"], again["repeats"]) == (20, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workload": "none"}, "Workload:"),
        ({"model": "none"}, "Model:"),
        ({"repeats": "0"}, "Repeats:"),
        ({"requests": "100000000"}, "A workload has 1 to"),
        ({"price": "-1"}, "Price of a GPU hour:"),
        ({"json_schema": "{"}, "JSON schema: It is no JSON"),
        ({"regex": "("}, "regular expression"),
        ({"project": "0"}, "Choose a project"),
    ],
)
def test_what_cannot_be_started_says_why_and_keeps_the_form(page, project, change, words):
    get_model()
    form = {
        "project": str(project.pk),
        "workload": "short-chat",
        "requests": "5",
        "model": "small",
        "repeats": "3",
        "note": "kept as it was",
    }
    answer = page.post("/benchmarks/new", {**form, **change})
    assert answer.status_code == 400
    assert words in _text(answer) and "kept as it was" in _text(answer)
    assert not Run.objects.exists()


def test_a_batch_becomes_a_workload_once(page, project, own_files):
    batch = make_batch(project=project, state=BatchState.COMPLETED, texts=["a"] * 3)
    address = f"/batches/{batch.public_id}/workload"
    assert address in _text(page.get(f"/batches/{batch.public_id}"))
    answer = page.post(address, {"name": " mine "})
    made = Workload.objects.get()
    assert (made.name, made.requests, made.source_batch) == ("mine", 3, batch)
    assert answer["Location"] == f"/benchmarks/new?workload={made.public_id}"
    assert page.get(answer["Location"]).context["given"]["workload"] == made.public_id
    assert "Made of this batch already" in _text(page.get(address))
    again = page.post(address, {"name": "mine"})
    assert again.status_code == 400 and "already" in _text(again)
    assert page.post(address, {"name": "short-chat"}).status_code == 400


def test_a_result_file_is_taken_over_and_marked(page, project, own_files):
    form = {"project": str(project.pk), "note": "on a laptop", "complete": "1"}

    def send(content: bytes, **change: str):
        file = SimpleUploadedFile("results.json", content)
        return page.post("/benchmarks/import", {**form, "file": file, **change})

    refused = send(b"{}")
    assert refused.status_code == 400 and "Nothing was kept." in _text(refused)
    assert send(b"{}", complete="").status_code == 400
    results = {
        "elapsed_time": 10.0,
        "num_requests": 20,
        "total_num_tokens": 4_000,
        "requests_per_second": 2.0,
        "tokens_per_second": 400.0,
    }
    answer = send(json.dumps(results).encode())
    run = Run.objects.get()
    assert answer["Location"] == f"/benchmarks/{run.public_id}", _text(answer)
    text = _text(page.get(answer["Location"]))
    assert "imported" in text and "The file does not say on what" in text
    assert "Compare…" not in text and "elapsed_time" in text


def test_every_finished_batch_has_its_rates(page, project):
    now = timezone.now()
    times = {"first_response_at": now - timedelta(seconds=1), "last_response_at": now}
    batch = make_batch(
        project=project,
        state=BatchState.COMPLETED,
        texts=["a"] * 10,
        ended_at=now,
        reused=4,
        reused_output_tokens=4_000,
        **times,
    )
    # Sent four seconds before the first answer came.
    sent = {"created_at": now - timedelta(seconds=1), "latency_ms": 4_000}
    batch.responses.update(**sent)
    at_once = make_batch(project=project, state=BatchState.COMPLETED, texts=["a"])
    running = make_batch(project=project, texts=["a"], open_lines=1)
    batch.lane_uses.create(
        generation=1, began_at=now, seen_at=now, shared=True, fingerprint=FINGERPRINT
    )
    rows = {one.pk: rates for one, rates in page.get("/benchmarks/batches").context["rows"]}
    assert running.pk not in rows
    # Answers that were known already were computed by no lane.
    assert rows[batch.pk].output_tokens == pytest.approx(1_200)
    assert rows[batch.pk].output_tokens_per_gpu == pytest.approx(1_200)
    assert (rows[batch.pk].vllm, rows[batch.pk].shared) == ("0.32.0", True)
    assert rows[at_once.pk].requests is None, "when its last answer came is not known"
    assert "No finished batch is like that" in _text(page.get("/benchmarks/batches?model=none"))


def test_only_one_place_of_the_sidebar_is_lit(page, project):
    for path in ("/benchmarks", "/benchmarks/batches", "/benchmarks/compare"):
        assert _text(page.get(path)).split("</aside>")[0].count('aria-current="page"') == 1, path
