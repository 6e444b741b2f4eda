"""Importing ratings: by page and by API, looked at first, taken over as one deed, undone."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone

from curation import tasks
from curation.models import GoldEvent, GoldStar, StarImport, StarImportLine
from curation.services import star_import as service
from curation.services.star_import import anything_to_import
from jobs.models import Batch, BatchResponse, Project
from jobs.result_lines import line_id
from jobs.services.projects import create_key, get_project
from tests.cast import make_batch, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_files")]

PAGE = "/gold/import"
API = "/api/gold-star/import"


@pytest.fixture
def batch(ours) -> Batch:
    """A batch of four answers, an error and a line that is not answered yet."""
    return make_batch(
        project=ours, texts=["one", "two", "three", "four"], errors=["no"], open_lines=1
    )


def table(batch: Batch, *rows: str, columns: str = "custom_id,quality_score,tags") -> bytes:
    lines = [f"batch_id,{columns}", *(f"{batch.public_id},{row}" for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def send(http: Client, content: bytes, name: str = "ratings.csv", **form: object):
    project = Project.objects.get(name="ours")
    file = SimpleUploadedFile(name, content)
    return http.post(PAGE, {"project": project.pk, "file": file, "complete": "1", **form})


def sent(http: Client, content: bytes, **form: object) -> StarImport:
    response = send(http, content, **form)
    assert response.status_code == 302, response.content.decode()
    return StarImport.objects.get(public_id=response["Location"].rpartition("/")[2])


def start(http: Client, found: StarImport) -> StarImport:
    assert http.post(f"{PAGE}/{found.public_id}/start").status_code == 302
    found.refresh_from_db()
    return found


def scores() -> dict[str, int]:
    stars = GoldStar.objects.filter(removed_at__isnull=True)
    return dict(stars.values_list("custom_id", "quality_score"))


def post(key: str, content: bytes, **query: str):
    headers = {"Authorization": f"Bearer {key}"}
    where = f"{API}?" + "&".join(f"{name}={value}" for name, value in query.items())
    return Client().post(where, content, content_type="text/csv", headers=headers)


@pytest.fixture
def key(ours) -> str:
    return create_key(project=ours, name="test")[1]


def test_a_file_is_looked_at_and_then_taken_over(http, batch):
    found = sent(http, table(batch, 'line-0,8,"a, b"', "line-1,3,", "line-2,,", ",,"))
    assert not GoldStar.objects.exists()
    page = http.get(f"{PAGE}/{found.public_id}").content.decode()
    assert "Take over 2 rows" in page and "ratings.csv" in page
    done = start(http, found)
    assert scores() == {"line-0": 8, "line-1": 3}
    assert (done.state, done.starred, done.silent, done.left) == ("done", 2, 2, 0)
    assert not StarImportLine.objects.exists()
    star = GoldStar.objects.get(custom_id="line-0")
    assert (star.tags, star.answer_text, star.created_by_name) == (["a", "b"], "one", "owner")
    assert "Starred" in http.get(f"{PAGE}/{found.public_id}").content.decode()


def test_stars_that_are_there_are_changed_and_their_other_fields_kept(http, batch):
    start(http, sent(http, table(batch, "line-0,8,a", "line-1,8,a")))
    columns = "custom_id,quality_score,edited_answer"
    found = sent(http, table(batch, "line-0,,better", "line-1,8,", columns=columns))
    assert (found.known, found.refused) == (2, 0)
    done = start(http, found)
    assert (done.starred, done.changed, done.same) == (0, 1, 1)
    star = GoldStar.objects.get(custom_id="line-0")
    assert (star.quality_score, star.tags, star.answer) == (8, ["a"], "better")


def test_an_import_is_undone_as_one_deed(http, batch):
    start(http, sent(http, table(batch, "line-0,8,")))
    found = start(http, sent(http, table(batch, "line-0,2,", "line-1,9,")))
    assert scores() == {"line-0": 2, "line-1": 9}
    assert "Undo the import" in http.get(f"{PAGE}/{found.public_id}").content.decode()
    http.post(f"/undo/{found.deed}", {"back": PAGE})
    assert scores() == {"line-0": 8}


def test_each_line_that_cannot_be_taken_says_why_and_is_downloaded(http, batch):
    theirs = make_batch(project=get_project(name="theirs"), texts=["x"])
    expired = make_batch(project=batch.project, texts=["x"])
    expired.output_file.expires_at = timezone.now() - timedelta(days=1)
    expired.output_file.save()
    rows = [
        f"{batch.public_id},line-0,8,",
        f"{batch.public_id},line-4,8,",
        f"{batch.public_id},line-5,8,",
        f"{batch.public_id},line-9,8,",
        f"{batch.public_id},line-1,11,",
        f"{batch.public_id},line-1,8.5,",
        f"{batch.public_id},line-2,,tag",
        f"{batch.public_id},line-0,7,",
        f"{theirs.public_id},line-0,8,",
        f"{expired.public_id},line-0,8,",
        f"{batch.public_id},line-3",
        f"{batch.public_id},line-3,8,{'t' * 65}",
    ]
    content = "batch_id,custom_id,quality_score,tags\n" + "\n".join(rows) + "\n"
    found = sent(http, content.encode())
    assert (found.rows, found.refused, found.left) == (12, 11, 1)
    raw = b"".join(http.get(f"{PAGE}/{found.public_id}/refused")).decode("utf-8-sig")
    why = {int(one["line"]): one["reason"] for one in csv.DictReader(io.StringIO(raw))}
    words = {
        3: "error instead of an answer (BadRequestError)",
        4: "not answered yet",
        5: "no line 'line-9'",
        6: "from 1 to 10, but is 11",
        7: "whole number",
        8: "no gold star yet",
        9: "Line 2 is of the same answer",
        10: "The project has no batch",
        11: "deleted, or has expired",
        12: "2 cells",
        13: "1 to 64 characters",
    }
    assert list(why) == list(words)
    for line, said in words.items():
        assert said in why[line], (line, why[line])
    page = http.get(f"{PAGE}/{found.public_id}").content.decode()
    assert "11 rows are refused" in page
    done = start(http, found)
    assert scores() == {"line-0": 8}
    assert (done.refused, done.starred, done.left) == (11, 1, 0)


def test_answers_are_named_by_response_id_too_and_both_must_agree(http, batch):
    def row(position: int, **more: str) -> bytes:
        named = {"response_id": line_id(batch.public_id, position), **more}
        return json.dumps({**named, "rating": 8}).encode()

    content = b"\n".join(
        [
            row(0, custom_id="line-0", batch_id=batch.public_id),
            row(1),
            row(2, custom_id="line-0"),
            row(3, batch_id="batch_x"),
            b'{"response_id": "nothing", "rating": 8}',
        ]
    )
    found = start(http, sent(http, content))
    assert set(scores()) == {"line-0", "line-1"}
    problems = [one.problem for one in found.lines.order_by("line")]
    assert ["custom_id" in problems[0], "batch_id" in problems[1]] == [True, True]
    assert "no id of a response" in problems[2]


def test_results_as_they_are_downloaded_come_back_rated(http, batch):
    tasks.index_responses()
    raw = b"".join(http.get("/results.csv")).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(raw)))
    for row in rows:
        row["rating"] = "9" if row["custom_id"] == "line-2" else ""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    found = start(http, sent(http, out.getvalue().encode()))
    assert scores() == {"line-2": 9}
    assert (found.rows, found.silent, found.refused) == (5, 4, 0)
    assert "prompt" in found.ignored


def test_stars_as_the_api_lists_them_come_back_as_they_were(http, key, batch):
    start(http, sent(http, table(batch, "line-0,8,a", "line-1,3,")))
    headers = {"Authorization": f"Bearer {key}"}
    listed = Client().get("/api/gold-star", headers=headers).json()["data"]
    content = b"\n".join(json.dumps(one).encode() for one in listed)
    made = post(key, content).json()
    assert (made["status"], made["same"], made["refused"]) == ("done", 2, 0)


def test_rows_that_name_no_batch_are_of_the_one_that_is_given(http, batch):
    start(http, sent(http, b"custom_id,rating\nline-3,7\n", batch_id=batch.public_id))
    assert scores() == {"line-3": 7}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"response_id,rating\na,\n", "none says anything"),
        (b'response_id,rating\n"a,8\n', "Line 2: The table cannot be read on"),
        (b"", "Choose a file"),
    ],
)
def test_a_file_with_nothing_to_take_is_not_kept(http, batch, content, words):
    response = (
        send(http, content)
        if content
        else http.post(PAGE, {"project": batch.project_id, "complete": "1"})
    )
    assert response.status_code == 400
    assert words in response.content.decode()
    assert not StarImport.objects.exists()


def test_a_file_that_is_too_large_or_broke_off_is_refused(http, batch, settings):
    broken = http.post(PAGE, {"file": SimpleUploadedFile("a.csv", b"x")})
    assert broken.status_code == 400 and "broke off" in broken.content.decode()
    settings.MAX_FILE_BYTES = 10
    assert send(http, table(batch, "line-0,8,")).status_code == 413


def test_one_that_is_discarded_changes_nothing_and_one_that_runs_stays(http, batch):
    found = sent(http, table(batch, "line-0,8,"))
    http.post(f"{PAGE}/{found.public_id}/discard")
    assert not StarImport.objects.exists() and not GoldStar.objects.exists()
    done = start(http, sent(http, table(batch, "line-0,8,")))
    http.post(f"{PAGE}/{done.public_id}/discard")
    http.post(f"{PAGE}/{done.public_id}/start")
    assert scores() == {"line-0": 8} and GoldEvent.objects.count() == 1


def test_what_is_not_done_at_once_is_done_by_the_task_as_its_sender(http, batch, monkeypatch):
    monkeypatch.setattr(service, "_TAKEN_AT_ONCE", 1)
    monkeypatch.setattr("curation.views.star_importing._AT_ONCE_S", -1.0)
    found = start(http, sent(http, table(batch, *(f"line-{n},8," for n in range(4)))))
    assert (found.state, found.starred, found.left) == ("running", 1, 3)
    assert anything_to_import()
    live = http.get(f"{PAGE}/{found.public_id}/live")
    assert "taking over, 3 left" in live.content.decode()
    tasks.run_star_imports()
    found.refresh_from_db()
    assert (found.state, found.starred, found.left) == ("done", 4, 0)
    assert set(GoldEvent.objects.values_list("actor_name", "deed")) == {("owner", found.deed)}
    assert not anything_to_import()


def test_an_answer_that_went_meanwhile_is_refused_and_no_line_is_lost(http, batch):
    found = sent(http, table(batch, "line-0,8,", "line-1,8,"))
    BatchResponse.objects.filter(request__custom_id="line-0").delete()
    done = start(http, found)
    assert (done.starred, done.refused, done.left) == (1, 1, 0)
    assert "deleted" in done.lines.get().problem


def test_strangers_see_no_import_and_viewers_start_none(http, ours, batch):
    found = sent(http, table(batch, "line-0,8,"))
    stranger, viewer = Client(), Client()
    stranger.force_login(make_person("stranger", project=get_project(name="theirs")))
    viewer.force_login(make_person("viewer", project=ours, role="viewer"))
    at = f"{PAGE}/{found.public_id}"
    assert [stranger.get(one).status_code for one in (at, f"{at}/live", f"{at}/refused")] == [
        404
    ] * 3
    assert [stranger.post(f"{at}/{verb}").status_code for verb in ("start", "discard")] == [404] * 2
    assert "ratings.csv" not in stranger.get(PAGE).content.decode()
    assert viewer.get(at).status_code == 200
    assert [viewer.post(f"{at}/{verb}").status_code for verb in ("start", "discard")] == [403] * 2
    assert viewer.get(PAGE).status_code == 403
    theirs = send(stranger, table(batch, "line-0,8,"))
    assert theirs.status_code == 400 and "Choose a project" in theirs.content.decode()
    assert not GoldStar.objects.exists()


def test_a_forged_form_is_refused(ours, batch):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_person("owner", project=ours))
    assert send(client, table(batch, "line-0,8,")).status_code == 403
    assert not StarImport.objects.exists()


# --- The API -----------------------------------------------------------------------------------
def test_a_key_imports_in_one_request(key, batch):
    made = post(key, table(batch, "line-0,8,a", "line-1,3,", ",,")).json()
    assert made["object"] == "gold_star.import" and made["status"] == "done"
    counts = {name: made[name] for name in ("rows", "starred", "silent", "refused", "left")}
    assert counts == {"rows": 3, "starred": 2, "silent": 1, "refused": 0, "left": 0}
    assert scores() == {"line-0": 8, "line-1": 3}
    headers = {"Authorization": f"Bearer {key}"}
    assert Client().get(f"{API}/{made['id']}", headers=headers).json() == made
    other = create_key(project=get_project(name="theirs"), name="test")[1]
    headers = {"Authorization": f"Bearer {other}"}
    assert Client().get(f"{API}/{made['id']}", headers=headers).status_code == 404


def test_the_api_takes_all_or_nothing_unless_told_otherwise(key, batch):
    content = table(batch, "line-0,8,", "line-1,11,")
    refused = post(key, content)
    assert refused.status_code == 400 and not GoldStar.objects.exists()
    body = refused.json()
    assert body["error"]["code"] == "lines_refused"
    assert [(one["line"], one["custom_id"]) for one in body["errors"]] == [(3, "line-1")]
    assert not StarImport.objects.exists()
    dry = post(key, content, dry_run="true").json()
    assert (dry["status"], dry["refused"], dry["left"]) == ("checked", 1, 1)
    assert not StarImport.objects.exists()
    made = post(key, content, skip_refused="true").json()
    assert (made["starred"], made["refused"]) == (1, 1) and scores() == {"line-0": 8}


@pytest.mark.parametrize(
    ("content", "query", "code", "words"),
    [
        (b"a,b\n1,2\n", {}, "invalid_file", "must name the columns"),
        (b"response_id,rating\na,\n", {}, "nothing_to_import", "none says anything"),
        (b"", {}, None, "empty"),
        (b"x", {"dry": "true"}, "unknown_parameter", "dry"),
        (b"x", {"dry_run": "yes"}, "invalid_value", "dry_run"),
        (b"x", {"project": "theirs"}, "invalid_value", "one of your projects"),
    ],
)
def test_the_api_says_what_is_wrong(key, content, query, code, words):
    response = post(key, content, **query)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == code and words in error["message"]


def test_the_api_takes_a_file_and_no_form(key):
    headers = {"Authorization": f"Bearer {key}"}
    file = SimpleUploadedFile("a.csv", b"x")
    assert Client().post(API, {"file": file}, headers=headers).status_code == 415
    assert Client().post(API, b"x", content_type="text/csv").status_code == 401


def test_a_session_imports_with_its_token_and_viewers_do_not(ours, batch):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_person("owner", project=ours))
    content = table(batch, "line-0,8,")
    assert client.post(API, content, content_type="text/csv").status_code == 403
    page = client.get(PAGE).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token is not None
    headers = {"X-CSRFToken": token[1]}
    assert client.post(API, content, content_type="text/csv", headers=headers).status_code == 200
    viewer = Client()
    viewer.force_login(make_person("viewer", project=ours, role="viewer"))
    assert viewer.post(API, content, content_type="text/csv").status_code == 403


def test_checking_a_thousand_lines_costs_few_statements(http, ours, django_assert_max_num_queries):
    batch = make_batch(project=ours, texts=["x"] * 40)
    content = table(batch, *(f"line-{n},8," for n in range(40)))
    with django_assert_max_num_queries(25):
        sent(http, content)


@pytest.mark.django_db(transaction=True)
def test_several_at_work_on_two_imports_of_the_same_answers_take_each_line_once(
    http, batch, monkeypatch
):
    monkeypatch.setattr(service, "_TAKEN_AT_ONCE", 2)
    there = [sent(http, table(batch, *(f"line-{n},{n + 1}," for n in range(4)))) for _ in range(2)]
    StarImport.objects.update(state="running")
    failed: list[BaseException] = []

    def work() -> None:
        try:
            service.run_star_imports()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tasks.run_star_imports()
    assert not failed, failed
    counts = StarImport.objects.values_list("state", "starred", "changed", "same", "refused")
    assert sorted(counts)[0][0] == "done" and sum(one[1] + one[3] for one in counts) == 8
    assert {row[2] for row in counts} == {0} and len(there) == 2
    assert GoldEvent.objects.count() == 4
    assert scores() == {f"line-{n}": n + 1 for n in range(4)}
