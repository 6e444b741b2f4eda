"""Which runs are alike, what differs, and what becomes of it."""

from __future__ import annotations

import pytest

from benchmarks.comparing import compare, why_unlike
from benchmarks.models import Run, RunPart
from benchmarks.services.workloads import enter_shipped

pytestmark = pytest.mark.django_db
MARK = {"cpu": "Test CPU", "cores": 2, "vllm": "1", "gpus": []}


@pytest.fixture
def make(ours):
    def make(*rates: float, requests: int = 20, **fields) -> Run:
        workload = enter_shipped(project=ours, name="short-chat", requests=requests)
        values = {
            "workload": workload,
            "model_name": "small",
            "state": "completed",
            "fingerprint": MARK,
            "figures": {"output_tokens_per_s": sorted(rates)[len(rates) // 2], "success_rate": 1.0},
        }
        run = Run.objects.create(project=ours, repeats=len(rates), **values | fields)
        for repeat, rate in enumerate([0.0, *rates]):
            figures = {"output_tokens_per_s": rate, "success_rate": 1.0}
            RunPart.objects.create(run=run, repeat=repeat, figures=figures)
        return run

    return make


def test_a_slower_run_regressed_a_faster_one_improved_and_a_like_one_is_noise(make):
    base = make(100, 101, 99, 100, 102)
    assert compare(base, make(80, 81, 79, 80, 82)).verdict == "regressed"
    assert compare(base, make(120, 121, 119, 122, 120)).verdict == "improved"
    assert compare(base, make(101, 99, 100, 100, 98)).verdict == "noise"
    assert compare(base, make(80, 80)).verdict == "too few"


def test_fewer_good_answers_are_a_regression_however_fast_the_refusals_were(make):
    base, fast = make(100, 101, 99, 100, 102), make(200, 201, 199, 200, 202)
    RunPart.objects.filter(run=fast).update(
        figures={"output_tokens_per_s": 200.0, "success_rate": 0.5}
    )
    fast.figures["success_rate"] = 0.5
    found = compare(base, fast)
    assert (found.verdict, found.deciding.metric.path) == ("regressed", "success_rate")
    assert found.verdicts[0].verdict.name == "improved"
    assert compare(fast, base).verdict == "regressed", "by its speed"


def test_unlike_runs_say_why_and_get_no_verdict(make):
    base = make(100, 100, 100)
    gpu = {"gpus": [{"name": "NVIDIA H200", "driver": "1"}]}
    for other, words in (
        (make(100, 100, 100, requests=21), "other requests"),
        (make(100, 100, 100, model_name="large"), "other models: small, and large"),
        (make(100, 100, 100, fingerprint=MARK | {"cpu": "Other CPU"}), "Test CPU, 2 cores"),
        (make(100, 100, 100, fingerprint=MARK | gpu), "1 × NVIDIA H200"),
        (make(100, 100, 100, state="failed"), "only a completed run"),
        (make(100, 100, 100, kind="run-batch", tool="run-batch"), "vbatch and run-batch"),
        (make(100, 100, 100, kind="imported", tool="vllm bench serve"), "result file"),
    ):
        found = compare(base, other)
        assert any(words in reason for reason in found.unlike), found.unlike
        assert (found.verdicts, found.verdict) == ([], "")


def test_models_may_differ_where_one_is_chosen(make):
    base, other = make(100), make(90, model_name="large")
    assert why_unlike(base, other, same_model=False) == []
    assert why_unlike(base, other) != []


def test_what_may_be_the_cause_is_named(make):
    after = MARK | {"vllm": "2", "engine_args": "--enforce-eager"}
    found = compare(make(100, 100, 100), make(80, 80, 80, fingerprint=after))
    assert [(one.title, one.before, one.after) for one in found.differences] == [
        ("vLLM", "1", "2"),
        ("engine arguments", "not known", "--enforce-eager"),
    ]
