"""`/api/benchmarks` and `/api/workloads`: who may see and make what, and in which form."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from django.test import Client

from benchmarks.models import Run
from jobs.models import Batch, Role
from jobs.services.projects import create_key, get_project
from tests.cast import make_person

pytestmark = pytest.mark.django_db
FILES = Path(__file__).parent / "files"


def _post(client: Client, path: str, body: dict, **headers) -> tuple[int, dict]:
    found = client.post(path, json.dumps(body), content_type="application/json", headers=headers)
    return found.status_code, found.json()


@pytest.fixture
def made(client, key, lane) -> Run:
    body = {"workload": "short-chat", "requests": 20, "model": "small", "repeats": 1}
    status, run = _post(client, "/api/benchmarks", body, **key)
    assert status == 200, run
    return Run.objects.get(public_id=run["id"])


def test_a_run_is_made_read_and_listed_with_a_key(client, key, made, finish):
    finish(made)
    run = client.get(f"/api/benchmarks/{made.public_id}", headers=key).json()
    assert (run["object"], run["status"], run["workload"]["name"]) == (
        "benchmark",
        "completed",
        "short-chat",
    )
    assert run["figures"]["completed"] == 20 and run["figures"]["output_throughput"] > 0
    assert run["figures"]["mean_ttft_ms"] is None, "the engine has told none"
    assert [part["repeat"] for part in run["parts"]] == [0, 1]
    assert run["fingerprint"]["cpu"] == "Test CPU"
    listed = client.get("/api/benchmarks?model=small&status=completed", headers=key).json()
    assert [one["id"] for one in listed["data"]] == [made.public_id]
    assert client.get("/api/benchmarks?workload=embeddings", headers=key).json()["data"] == []


def test_a_table_has_the_names_of_vllm_bench_and_no_formulas(client, key, made, finish):
    finish(made)
    Run.objects.update(model_name="=1+1")
    for path in ("/api/benchmarks", f"/api/benchmarks/{made.public_id}"):
        answer = client.get(f"{path}?format=csv", headers=key)
        assert answer["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
        row = rows[-1]
        assert float(row["request_throughput"]) > 0 and row["num_prompts"] == "20"
        assert row["model_id"] == "'=1+1"
        assert {"output_throughput", "total_token_throughput", "p99_e2el_ms"} <= set(row)
    assert [row["repeat"] for row in rows] == ["1", ""], "its repeat, and the run as a whole"


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"workload": "nothing"}, "workload", "short-chat"),
        ({"workload": None}, "workload", "workload"),
        ({"requests": 0}, "requests", "1"),
        ({"requests": 1_000_000_000}, "requests", "50000"),
        ({"model": "unknown"}, "model", "listmodels"),
        ({"repeats": 51}, "repeats", "50"),
        ({"checks": ["json"]}, "checks", "list of objects"),
        ({"checks": [{"kind": "magic"}]}, "checks", "judge, or one of"),
        ({"price_per_gpu_hour": "NaN"}, "price_per_gpu_hour", "number"),
        ({"price_per_gpu_hour": -1}, "price_per_gpu_hour", "price"),
        ({"speed": 1}, "speed", "speed"),
    ],
)
def test_what_cannot_be_run_says_why(client, key, model, change, param, words):
    body = {"workload": "short-chat", "requests": 20, "model": "small"} | change
    status, answer = _post(client, "/api/benchmarks", body, **key)
    assert (status, answer["error"]["param"]) == (400, param)
    assert words in answer["error"]["message"]
    assert not Run.objects.exists()


@pytest.mark.parametrize("name", ["serve.json", "throughput.json"])
def test_a_result_file_is_taken_over_once(client, key, ours, name):
    content = (FILES / name).read_bytes()
    found = client.post(
        "/api/benchmarks/import", content, content_type="application/json", headers=key
    )
    run = found.json()
    assert found.status_code == 200, run
    assert (run["kind"], run["status"]) == ("imported", "completed") and run["ended_at"]
    assert run["figures"]["request_throughput"] > 0 and Run.objects.count() == 1
    assert client.get(f"/api/benchmarks/{run['id']}", headers=key).json() == run | {"parts": []}


def test_foreign_runs_are_not_there(client, made):
    stranger = {"Authorization": f"Bearer {create_key(project=get_project(name='x'), name='k')[1]}"}
    assert client.get("/api/benchmarks", headers=stranger).json()["data"] == []
    for path in ("", "/compare"):
        found = client.get(f"/api/benchmarks/{made.public_id}{path}", headers=stranger)
        assert found.status_code == 404
    for path in ("/cancel", "/baseline"):
        status, _ = _post(client, f"/api/benchmarks/{made.public_id}{path}", {}, **stranger)
        assert status == 404
    assert client.get("/api/benchmarks").status_code == 401


def test_viewers_may_look_and_not_start(made, ours):
    viewer = Client()
    viewer.force_login(make_person("viewer", project=ours, role=Role.VIEWER))
    assert viewer.get(f"/api/benchmarks/{made.public_id}").status_code == 200
    body = {"workload": "short-chat", "model": "small"}
    assert _post(viewer, "/api/benchmarks", body)[0] == 403
    assert _post(viewer, f"/api/benchmarks/{made.public_id}/cancel", {})[0] == 403


def test_a_run_is_cancelled_once(client, key, made):
    path = f"/api/benchmarks/{made.public_id}/cancel"
    status, run = _post(client, path, {}, **key)
    assert (status, run["status"]) == (200, "cancelled")
    assert _post(client, path, {}, **key)[0] == 409


def test_any_batch_that_has_ended_has_its_figures(client, key, made, finish):
    finish(made)
    batch = Batch.objects.get(metadata__repeat="1")
    found = client.get(f"/api/benchmarks/{batch.public_id}", headers=key).json()
    assert (found["kind"], found["figures"]["completed"]) == ("batch", 20)
    assert found["figures"]["output_throughput"] > 0
    Batch.objects.filter(pk=batch.pk).update(state="in_progress")
    assert client.get(f"/api/benchmarks/{batch.public_id}", headers=key).status_code == 409
    assert client.get("/api/benchmarks/batch_0", headers=key).status_code == 404


def test_a_run_is_held_against_the_pinned_one(client, key, made, finish, ours):
    finish(made)
    path = f"/api/benchmarks/{made.public_id}"
    nothing = client.get(f"{path}/compare", headers=key)
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (400, "no_baseline")
    assert _post(client, f"{path}/baseline", {}, **key)[1]["pinned"] is True
    found = client.get(f"{path}/compare", headers=key).json()
    assert (found["comparable"], found["baseline"]) == (True, made.public_id)
    assert found["verdict"] == "too few" and found["metrics"][0]["metric"] == "output_tokens_per_s"
    assert client.delete(f"{path}/baseline", headers=key).json()["pinned"] is False
    assert client.get(f"{path}/compare", headers=key).status_code == 400


def test_a_plan_is_an_estimate_and_names_its_run(client, key, made, finish):
    path = f"/api/benchmarks/{made.public_id}/plan?requests=1000000"
    assert client.get(path, headers=key).status_code == 409
    finish(made)
    found = client.get(path, headers=key).json()
    assert (found["estimate"], found["rests_on"]) == (True, made.public_id)
    assert found["seconds"] == pytest.approx(100_000, rel=0.1)
    assert client.get(path.partition("?")[0], headers=key).status_code == 400


def test_only_a_completed_run_can_be_pinned(client, key, made):
    status, answer = _post(client, f"/api/benchmarks/{made.public_id}/baseline", {}, **key)
    assert (status, answer["error"]["code"]) == (409, "cannot_pin")


def test_a_workload_of_ones_own_is_made_of_a_batch_and_listed(client, key, made, finish):
    finish(made)
    batch = Batch.objects.get(metadata__repeat="1")
    body = {"name": "mine", "batch_id": batch.public_id}
    status, own = _post(client, "/api/workloads", body, **key)
    assert (status, own["requests"], own["version"]) == (200, 20, None)
    assert _post(client, "/api/workloads", body, **key)[0] == 400, "the name is taken"
    listed = client.get("/api/workloads", headers=key).json()["data"]
    assert {one["name"] for one in listed} >= {"short-chat", "embeddings", "mine"}
    run = {"workload": "mine", "model": "small"}
    assert _post(client, "/api/benchmarks", run, **key)[0] == 200
    wrong = run | {"requests": 5}
    assert "as it was made" in _post(client, "/api/benchmarks", wrong, **key)[1]["error"]["message"]
