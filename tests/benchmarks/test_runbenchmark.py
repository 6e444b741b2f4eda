"""`manage.py runbenchmark`: its words, its files and its exit status."""

from __future__ import annotations

import csv
import json

import pytest
from django.core.management import CommandError, call_command

from benchmarks.management import following
from benchmarks.models import Run
from benchmarks.services.workloads import enter_shipped

pytestmark = pytest.mark.django_db
ARGS = ("--model", "small", "--workload", "short-chat", "--project", "ours")


@pytest.fixture
def run_it(ours, engine, finish, monkeypatch, capsys):
    """Run the command; each look at the run finds it finished at these rates."""

    def run_it(*args: str, rates: tuple[float, ...] = (1_000.0,)) -> tuple[int, str]:
        def look(seconds: float) -> None:
            finish(Run.objects.latest("pk"), *rates)

        monkeypatch.setattr(following.time, "sleep", look)
        status = 0
        try:
            call_command("runbenchmark", *ARGS, "--requests", "20", *args)
        except CommandError as error:
            status = error.returncode
            print(error)
        return status, capsys.readouterr().out

    return run_it


def test_a_run_is_followed_and_its_figures_are_printed_and_written(run_it, tmp_path):
    files = ["--json", str(tmp_path / "run.json"), "--csv", str(tmp_path / "run.csv")]
    status, out = run_it("--repeat", "2", *files)
    assert status == 0 and "Output tokens" in out and "tokens/s" in out
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["status"] == "completed" and len(written["parts"]) == 3
    rows = list(csv.DictReader((tmp_path / "run.csv").open()))
    assert [row["repeat"] for row in rows] == ["1", "2", ""]


def test_the_exit_status_tells_a_regression(run_it):
    steady = (1_000, 1_000, 1_010, 990, 1_005, 995)
    assert run_it("--repeat", "5", "--pin", rates=steady)[0] == 0
    status, out = run_it("--repeat", "5", rates=tuple(rate * 0.5 for rate in steady))
    assert status == 1 and "regressed" in out and "geometric means" in " ".join(out.split())
    status, out = run_it("--repeat", "5", rates=tuple(rate * 1.001 for rate in steady))
    assert status == 0 and "Verdict: noise" in out


def test_without_a_verdict_the_status_is_neither(run_it):
    run_it("--pin")
    assert run_it()[0] == 2, "one repeat is too few"


def test_a_baseline_of_other_requests_or_another_model_is_told_before_anything_runs(run_it, ours):
    first = run_it("--pin")[1].split()[0]
    other = enter_shipped(project=ours, name="short-chat", requests=21)
    for change, words in (
        ({"workload": other}, "short-chat v1, 21 requests"),
        ({"model_name": "large"}, "other models: large, and small"),
        ({"state": "cancelled"}, "is cancelled"),
    ):
        before = Run.objects.filter(public_id=first).values(*change).get()
        Run.objects.filter(public_id=first).update(**change)
        status, out = run_it("--repeat", "3", "--baseline", first)
        assert status == 2 and words in " ".join(out.split()) and Run.objects.count() == 1
        Run.objects.filter(public_id=first).update(**before)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--model", "unknown"), "not served"),
        (("--workload", "nothing"), "short-chat"),
        (("--check", "["), "--check"),
        (("--price", "much"), "no number"),
        (("--baseline", "bench_0"), "bench_0"),
        (("--project", "nobody's"), "nobody's"),
    ],
)
def test_what_cannot_be_run_says_why(run_it, model, args, words):
    status, out = run_it(*args)
    assert status == 2 and words in out and not Run.objects.exists()


def test_a_failed_run_is_no_success(ours, model, monkeypatch):
    def fail(seconds: float) -> None:
        Run.objects.update(state="failed", error="It broke.")

    monkeypatch.setattr(following.time, "sleep", fail)
    with pytest.raises(CommandError, match="It broke") as caught:
        call_command("runbenchmark", *ARGS)
    assert caught.value.returncode == 2
