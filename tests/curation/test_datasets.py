"""Data sets: planted leaks, duplicates and cut rows are found; frozen is for ever; exports."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pytest
from django.test import Client

from curation import tasks
from curation.models import (
    Dataset,
    DatasetRow,
    DatasetVersion,
    Export,
    GoldStar,
    VersionState,
)
from curation.services.exports import anything_to_export
from jobs.models import StoredFile
from jobs.services.projects import get_project
from tests.cast import make_person
from tests.curation.gold import make_star, make_stars

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_files")]

LONG = "Say in one paragraph what this text of many different words is about and why: "
FORM = {
    "splits": "train 80, test 20",
    "group": "prompt",
    "seed": "1",
    "shape": "openai-sft",
    "min_rows": "1",
}


@pytest.fixture
def dataset(http, ours) -> Dataset:
    http.post("/datasets", {"name": "First set", "project": "ours"})
    return Dataset.objects.get()


def build(http: Client, dataset: Dataset, **form: str) -> DatasetVersion:
    address = f"/datasets/{dataset.public_id}/versions"
    response = http.post(address, {**FORM, **form})
    assert response.status_code == 302, response.content.decode()
    tasks.build_versions()
    return dataset.versions.latest("number")


def export(http: Client, version: DatasetVersion, shape: str, split: str = "") -> Export:
    at = f"/datasets/{version.dataset.public_id}/versions/{version.number}"
    http.post(f"{at}/exports", {"shape": shape, "split": split})
    tasks.run_exports()
    return version.exports.latest("pk")


def content(http: Client, made: Export) -> bytes:
    assert made.state == "done", made.error
    return b"".join(http.get(f"/exports/{made.public_id}"))


def test_a_version_holds_the_stars_that_are_asked_for_and_says_why_others_are_not(
    http, dataset, ours
):
    make_stars(ours, 20)
    GoldStar.objects.bulk_create(
        [
            make_star(ours, 20, finish_reason="length"),
            make_star(ours, 21, answer=""),
            make_star(ours, 22, prompt="question 3", answer="answer 3"),
            make_star(ours, 23, answer="word " * 3_000),
            make_star(ours, 24, quality_score=3),
        ]
    )
    version = build(http, dataset, min_quality="7", max_tokens="2000")
    assert (version.state, version.rows) == (VersionState.DRAFT, 20)
    assert version.report["rejects"] == {
        "cut": 1,
        "duplicate": 1,
        "empty_answer": 1,
        "too_long": 1,
    }
    at = f"/datasets/{dataset.public_id}/versions/1"
    table = b"".join(http.get(f"{at}/rejects")).decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {row["custom_id"]: row["code"] for row in rows} == {
        "line-20": "cut",
        "line-21": "empty_answer",
        "line-22": "duplicate",
        "line-23": "too_long",
    }
    page = http.get(at).content.decode()
    assert "rows of 24 gold stars, 4 rejected" in page


def test_planted_leaks_block_freezing_until_a_reason_is_given(http, dataset, ours):
    def prompt_of(number: int) -> str:
        return LONG + " ".join(f"word{number}x{place}" for place in range(60))

    stars = [make_star(ours, number, prompt=prompt_of(number)) for number in range(30)]
    # The first ten again: five to the letter, with another answer; five with a word changed.
    for number in range(10):
        prompt = stars[number].prompt_text
        if number >= 5:
            prompt = prompt.replace("paragraph", "section", 1)
        stars.append(make_star(ours, 100 + number, prompt=prompt, answer="another"))
    GoldStar.objects.bulk_create(stars)
    version = build(http, dataset, group="none", splits="train 50, test 50")
    rows = {row.custom_id: row.split for row in DatasetRow.objects.filter(version=version)}
    leaking = [n for n in range(10) if rows[f"line-{n}"] != rows[f"line-{100 + n}"]]
    assert version.report["leaks"]["exact"] == sum(n < 5 for n in leaking) > 0
    assert version.report["leaks"]["near"] == sum(n >= 5 for n in leaking) > 0
    at = f"/datasets/{dataset.public_id}/versions/1"
    page = http.post(f"{at}/freeze", follow=True).content.decode()
    assert "lie in more than one split" in page and "give the reason why" in page
    assert DatasetVersion.objects.get().state == VersionState.DRAFT
    http.post(f"{at}/freeze", {"reason": "a test of memorising"})
    frozen = DatasetVersion.objects.get()
    assert (frozen.state, frozen.override_reason) == (VersionState.FROZEN, "a test of memorising")
    # Kept together, nothing leaks.
    assert build(http, dataset, group="alike").report["leaks"]["count"] == 0
    kept = build(http, dataset, group="prompt", splits="train 50, test 50").report["leaks"]
    assert kept["exact"] == 0


def test_splits_stay_where_they_are_when_stars_come(http, dataset, ours):
    make_stars(ours, 50)
    first = build(http, dataset)
    GoldStar.objects.bulk_create([make_star(ours, n) for n in range(50, 80)])
    second = build(http, dataset)

    def splits(version):
        return dict(version.row_set.values_list("custom_id", "split"))

    before, after = splits(first), splits(second)
    assert {name: after[name] for name in before} == before and len(after) == 80
    assert set(before.values()) == {"train", "test"}
    other = build(http, dataset, seed="2")
    assert splits(other) != after


def test_a_frozen_version_gives_the_same_bytes_whatever_happens_to_its_stars(http, dataset, ours):
    stars = make_stars(ours, 12)
    version = build(http, dataset)
    http.post(f"/datasets/{dataset.public_id}/versions/1/freeze")
    first = export(http, version, "openai-sft", "train")
    bytes_before = content(http, first)
    GoldStar.objects.update(edited_answer="another", quality_score=1)
    GoldStar.objects.filter(pk=stars[0].pk).delete()
    StoredFile.objects.all().delete()
    second = export(http, version, "openai-sft", "train")
    assert second.pk != first.pk
    assert content(http, second) == bytes_before
    assert second.sha256 == first.sha256
    assert (
        http.post(f"/datasets/{dataset.public_id}/versions/1/discard", follow=True).context
        is not None
    )
    assert DatasetVersion.objects.get().state == VersionState.FROZEN


def test_an_altered_row_is_told_and_not_exported(http, dataset, ours):
    make_stars(ours, 3)
    version = build(http, dataset)
    DatasetRow.objects.filter(position=1).update(edited_answer="smuggled in")
    made = export(http, version, "trl-sft")
    assert made.state == "failed"
    assert "Row 1 is not what it was" in made.error


def test_an_export_of_every_split_is_a_zip_with_its_rejects(http, dataset, ours):
    make_stars(ours, 30)
    GoldStar.objects.filter(position__lt=10).update(edited_answer="better")
    version = build(http, dataset)
    made = export(http, version, "trl-preference")
    packed = zipfile.ZipFile(io.BytesIO(content(http, made)))
    assert packed.namelist() == ["train.jsonl", "test.jsonl", "manifest.json", "rejects.csv"]
    rows = [json.loads(line) for name in packed.namelist()[:2] for line in packed.open(name)]
    assert len(rows) == made.rows_done == 10
    rejects = list(csv.DictReader(io.TextIOWrapper(packed.open("rejects.csv"), "utf-8")))
    assert len(rejects) == made.rejected == 20
    manifest = json.loads(packed.read("manifest.json"))
    assert manifest["sha256"] == version.sha256 and manifest["rejected"] == 20


def test_a_parquet_folder_loads_and_asking_twice_is_one_export(http, dataset, ours, tmp_path):
    from datasets import load_dataset

    make_stars(ours, 30)
    version = build(http, dataset)
    made = export(http, version, "parquet")
    assert export(http, version, "parquet").pk == made.pk
    zipfile.ZipFile(io.BytesIO(content(http, made))).extractall(tmp_path / "set")
    loaded = load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert sum(len(split) for split in loaded.values()) == 30
    assert {name: len(split) for name, split in loaded.items()} == version.report["splits"]


def test_a_run_that_died_is_taken_up_and_the_late_one_changes_nothing(http, dataset, ours):
    make_stars(ours, 3)
    version = build(http, dataset)
    export(http, version, "raw")
    Export.objects.update(state="running", lease_until="2020-01-01T00:00:00Z", attempt=7)
    assert anything_to_export()
    tasks.run_exports()
    done = Export.objects.get()
    assert (done.state, done.attempt) == ("done", 8)
    DatasetVersion.objects.update(state="building", lease_until="2020-01-01T00:00:00Z")
    tasks.build_versions()
    assert DatasetVersion.objects.get().rows == DatasetRow.objects.count() == 3


def test_versions_are_compared(http, dataset, ours):
    stars = make_stars(ours, 10)
    build(http, dataset)
    GoldStar.objects.filter(pk=stars[0].pk).delete()
    GoldStar.objects.filter(pk=stars[1].pk).update(edited_answer="better")
    GoldStar.objects.bulk_create([make_star(ours, 10)])
    build(http, dataset)
    page = http.get(f"/datasets/{dataset.public_id}/diff?from=1&to=2").content.decode()
    assert "1 were added, 1 removed, 1 changed, 0 moved" in page
    assert http.get(f"/datasets/{dataset.public_id}/diff?from=1&to=9").status_code == 404


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"splits": "train 80, test 30"}, "add up to 110"),
        ({"splits": "train 80, train 20"}, "the same name"),
        ({"splits": "Train 100"}, "small letters"),
        ({"shape": "parquets"}, "there is no shape"),
        ({"group": "moon"}, "must be one of"),
        ({"seed": "-1"}, "whole number"),
        ({"min_rows": "0"}, "1 at least"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_in_words(http, dataset, form, words):
    response = http.post(f"/datasets/{dataset.public_id}/versions", {**FORM, **form})
    assert response.status_code == 400
    assert words in response.content.decode()
    assert not DatasetVersion.objects.exists()


def test_strangers_see_nothing_and_viewers_change_nothing(http, dataset, ours):
    make_stars(ours, 3)
    version = build(http, dataset)
    made = export(http, version, "raw")
    stranger = Client()
    stranger.force_login(make_person("stranger", project=get_project(name="theirs")))
    at = f"/datasets/{dataset.public_id}"
    for path in (at, f"{at}/versions/1", f"{at}/versions/1/rejects", f"/exports/{made.public_id}"):
        assert stranger.get(path).status_code == 404
    viewer = Client()
    viewer.force_login(make_person("viewer", project=ours, role="viewer"))
    assert viewer.get(f"{at}/versions/1").status_code == 200
    assert viewer.post(f"{at}/versions", FORM).status_code == 403
    assert viewer.post(f"{at}/versions/1/freeze").status_code == 403
    assert http.post("/datasets", {"name": "First set", "project": "ours"}).status_code == 200
    assert Dataset.objects.count() == 1


def test_an_empty_split_is_told_and_makes_no_file(http, dataset, ours):
    make_stars(ours, 3)
    version = build(http, dataset, splits="train 99.9, test 0.1")
    assert version.report["splits"] == {"train": 3, "test": 0}
    at = f"/datasets/{dataset.public_id}/versions/1"
    page = http.post(f"{at}/freeze", follow=True).content.decode()
    assert "No row fell into test." in page
    packed = zipfile.ZipFile(io.BytesIO(content(http, export(http, version, "openai-sft"))))
    assert packed.namelist() == ["train.jsonl", "manifest.json", "rejects.csv"]
    failed = export(http, version, "openai-dpo")
    assert (failed.state, failed.rows_done, failed.rejected) == ("failed", 0, 3)
    assert "None of the 3 rows fits this shape" in failed.error
    assert export(http, version, "openai-sft", "test").error == "The split is empty."
