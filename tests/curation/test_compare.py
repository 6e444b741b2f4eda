"""Answers side by side: joined by custom_id or prompt, nothing shifted, differences marked."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from django.test import Client
from django.utils import timezone

from curation.comparing import Comparing, Place
from curation.services import compare_rows
from curation.services.compare_cells import Side
from curation.services.compare_figures import measure
from curation.services.compare_rows import page_of_rows, walk_rows
from curation.services.search_index import index_responses
from jobs.models import Batch, BatchRequest, BatchResponse, Project, StoredFile
from jobs.services.deleting import delete_batch
from jobs.services.files import delete_file
from jobs.services.projects import get_project
from tests.cast import make_batch, make_person

pytestmark = pytest.mark.django_db


def answered(
    project: Project,
    texts: dict[str, str],
    *,
    errors: dict[str, str] | None = None,
    open_ids: tuple[str, ...] = (),
    model: str = "small",
    prompts: dict[str, str] | None = None,
) -> Batch:
    """Make a batch whose lines have these custom_ids, with answers, errors or nothing yet."""
    errors, prompts = errors or {}, prompts or {}
    batch = make_batch(
        project=project,
        state="in_progress" if open_ids else "completed",
        texts=list(texts.values()),
        errors=list(errors.values()),
        open_lines=len(open_ids),
        model_name=model,
        **({} if open_ids else {"ended_at": timezone.now()}),
    )
    for position, name in enumerate([*texts, *errors, *open_ids]):
        prompt = prompts.get(name, f"prompt of {name}")
        BatchRequest.objects.filter(batch=batch, position=position).update(
            custom_id=name,
            prompt_text=prompt,
            prompt_sha256=hashlib.sha256(prompt.encode()).digest(),
        )
    index_responses()
    return batch


def query(*batches, **more):
    return {"side": [one.public_id if isinstance(one, Batch) else one for one in batches], **more}


def sides_of(*batches: Batch) -> list[Side]:
    return [
        Side(key=b.public_id, model_name=b.model_name, project_id=b.project_id, batch=b)
        for b in batches
    ]


def table(sides, by="custom_id", **more):
    """Return each row as its key and the texts of its cells."""
    found = []
    start = None
    while True:
        page = page_of_rows(sides, by, start=start, **more)
        found += [
            (
                row.key,
                [
                    cell and (cell.text if cell.state == "answered" else cell.state)
                    for cell in row.cells
                ],
            )
            for row in page.rows
        ]
        start = page.next
        if start is None:
            return found


@pytest.fixture
def pair(ours):
    """Two batches: a row the same, one different, one failed, one in each alone."""
    first = answered(ours, {"a": "one", "b": "two words", "only-first": "x"}, errors={"e": "bad"})
    second = answered(ours, {"e": "mended", "only-second": "y", "b": "two birds", "a": "one"})
    return first, second


@pytest.mark.parametrize("by", ["custom_id", "prompt"])
@pytest.mark.parametrize("size", [1, 2, 20])
def test_rows_are_joined_by_their_key_and_missing_where_they_are_missing(pair, by, size):
    rows = table(sides_of(*pair), by, size=size)
    assert [cells for _, cells in rows] == [
        ["one", "one"],
        ["two words", "two birds"],
        ["x", None],
        ["failed", "mended"],
        [None, "y"],
    ]


def test_rows_come_once_with_three_sides_and_any_slices(ours):
    batches = [
        answered(ours, {n: f"{n} of {k}" for n in names}, model=f"m{k}")
        for k, names in enumerate([["a", "b"], ["c", "b", "d"], ["e", "d", "a", "f"]])
    ]
    for by in ("custom_id", "prompt"):
        for slice_rows in (1, 2, 3, 50):
            rows = [
                r
                for some in walk_rows(sides_of(*batches), by, slice_rows=slice_rows)
                for r in some.rows
            ]
            assert len({row.key for row in rows}) == len(rows) == 6
            present = [[cell is not None for cell in row.cells] for row in rows]
            assert present == [
                [True, False, True],
                [True, True, False],
                [False, True, False],
                [False, True, True],
                [False, False, True],
                [False, False, True],
            ]


@pytest.mark.parametrize(
    ("show", "keys"),
    [
        ("different", ["b"]),
        ("same", ["a"]),
        ("missing", ["only-first", "only-second"]),
        ("failed", ["e"]),
        ("", ["a", "b", "only-first", "e", "only-second"]),
    ],
)
def test_only_what_is_asked_for_is_shown(http, pair, show, keys):
    assert [key for key, _ in table(sides_of(*pair), show=show)] == keys
    page = http.get("/compare", query(*pair, show=show)).content.decode()
    assert re.findall(r'cmp-name"><bdi title="([^"]*)"', page) == keys


def test_what_is_looked_at_in_one_request_is_bounded(ours, monkeypatch):
    monkeypatch.setattr(compare_rows, "SLICE_ROWS", 50)
    texts = {f"n{n}": "same" for n in range(130)}
    sides = sides_of(answered(ours, texts), answered(ours, {**texts, "n125": "other"}))
    page = page_of_rows(sides, "custom_id", show="different", scan=100)
    assert page.rows == [] and page.looked_at == 100 and page.next == Place(0, 100)
    rest = page_of_rows(sides, "custom_id", show="different", start=page.next)
    assert [row.key for row in rest.rows] == ["n125"] and rest.next is None


@pytest.mark.parametrize("by", ["custom_id", "prompt"])
def test_what_only_a_later_side_has_is_found_however_much_lies_before_it(ours, monkeypatch, by):
    monkeypatch.setattr(compare_rows, "WINDOW_ROWS", 10)
    texts = {f"n{n}": "same" for n in range(45)}
    alone = {"first": "1", **texts, "last": "2"}
    sides = sides_of(answered(ours, texts), answered(ours, alone))
    assert table(sides, by)[-2:][0][1] == [None, "1"]
    assert table(sides, by)[-1][1] == [None, "2"] and len(table(sides, by)) == 47
    page = page_of_rows(sides, by, start=Place(1, 1), scan=0)
    assert page.rows == [] and page.next == Place(1, 11) and page.looked_at == 10


def test_words_that_differ_are_marked_on_both_sides(http, pair):
    page = http.get("/compare", query(*pair)).content.decode()
    assert "two <del>words</del>" in page and "two <ins>birds</ins>" in page
    assert page.count("<del>") == page.count("<ins>") == 1
    assert "The same as A." in page and "Missing: this side has no such row." in page


def test_markup_in_answers_is_text(http, ours):
    one, two = (answered(ours, {"a": f"<script>{n}</script>"}) for n in range(2))
    page = http.get("/compare", query(one, two)).content.decode()
    assert "<script>0" not in page and "&lt;" in page


def test_prompts_asked_more_than_once_are_one_row(ours):
    prompts = {"a": "p", "b": "p", "c": "q"}
    first = answered(ours, {"a": "1", "b": "2", "c": "3"}, prompts=prompts)
    second = answered(ours, {"x": "4"}, prompts={"x": "p"})
    rows = table(sides_of(first, second), "prompt")
    assert [cells for _, cells in rows] == [["1", "4"], ["3", None]]


def test_what_is_not_answered_yet_is_no_row_of_its_own(http, ours):
    first = answered(ours, {"a": "1"}, open_ids=("b",))
    second = answered(ours, {"b": "2", "a": "1"})
    for by in ("custom_id", "prompt"):
        response = http.get("/compare", query(first, second, by=by))
        assert [
            [cell and cell.state for cell in row.row.cells] for row in response.context["rows"]
        ] == [
            ["answered", "answered"],
            ["open", "answered"],
        ]
        assert "Not answered yet." in response.content.decode()


def test_models_are_joined_by_prompt_each_with_its_newest_answer(http, ours):
    answered(ours, {"a": "old", "b": "of b"}, model="one")
    answered(ours, {"z": "new"}, prompts={"z": "prompt of a"}, model="one")
    answered(ours, {"y": "theirs"}, prompts={"y": "prompt of a"}, model="other")
    response = http.get("/compare", query("model:one", "model:other"))
    assert response.context["wanted"].by == "prompt"
    texts = [
        [cell.cell and cell.cell.text for cell in row.cells] for row in response.context["rows"]
    ]
    assert sorted(texts, key=str) == sorted([["new", "theirs"], ["of b", None]], key=str)


def test_models_can_be_joined_by_custom_id_too(http, ours):
    answered(ours, {"a": "old", "b": "of b"}, model="one")
    answered(ours, {"a": "new"}, model="one")
    batch = answered(ours, {"a": "beside"}, model="other")
    response = http.get("/compare", query("model:one", batch, by="custom_id"))
    texts = [
        [cell.cell and cell.cell.text for cell in row.cells] for row in response.context["rows"]
    ]
    assert texts == [["new", "beside"], ["of b", None]]


def test_a_row_can_be_read_whole(http, ours):
    long = "word " * 20_000
    one = answered(ours, {"a": long})
    two = answered(ours, {"a": long + "end"})
    page = http.get("/compare", query(one, two)).content
    assert len(page) < 60_000
    row = http.get("/compare/row", query(one, two, at="0.0")).content.decode()
    assert "<ins>end</ins>" in row and len(row) > 190_000
    assert http.get("/compare/row", query(one, two, at="0.5")).status_code == 404
    assert http.get("/compare/row", query(one, two, at="../..")).status_code == 404


def test_answers_that_differ_only_behind_what_is_kept_of_their_text_are_different(ours):
    batches = [answered(ours, {"a": "x" * 65_536}) for _ in range(2)]
    for number, batch in enumerate(batches):
        message = {"role": "assistant", "content": "x" * 65_536 + str(number)}
        body = json.dumps({"choices": [{"message": message}]}).encode()
        BatchResponse.objects.filter(batch=batch).update(body=body)
    assert [key for key, _ in table(sides_of(*batches), show="different")] == ["a"]


def test_json_is_compared_field_by_field(http, ours):
    one = answered(ours, {"a": '{"name": "Ada", "born": 1815}'})
    two = answered(ours, {"a": '{"born": 1816, "name": "Ada"}'})
    page = http.get("/compare", query(one, two)).content.decode()
    assert page.count('class="differs"') == 1 and "<code>1816</code>" in page
    figures = measure(sides_of(one, two), "custom_id")
    assert [(f.path, f.same, f.rows) for f in figures.fields] == [("born", 0, 1), ("name", 1, 1)]


def test_figures_count_what_is_there(http, pair):
    figures = measure(sides_of(*pair), "custom_id")
    assert (figures.rows, figures.is_whole) == (5, True)
    first, second = figures.sides
    assert (first.answered, first.failed, first.missing) == (3, 1, 1)
    assert (second.answered, second.failed, second.missing) == (4, 0, 1)
    (beside,) = figures.pairs
    assert (beside.both, beside.same, beside.agreement) == (2, 1, 50.0)
    assert (beside.only_first, beside.only_this) == (1, 2)
    assert sum(bar.count for bar in beside.bars) == 2
    assert -100 <= beside.delta_low <= beside.delta_median <= beside.delta_high <= 100
    page = http.get("/compare/figures", query(*pair)).content.decode()
    assert "50.0 %" in page and "all 5 rows" in page


def test_lengths_are_told_in_per_cent_of_the_first(ours):
    texts = {f"n{n}": "x" * 100 for n in range(5)}
    longer = {f"n{n}": "y" * (100 + 50 * n) for n in range(5)}
    (beside,) = measure(sides_of(answered(ours, texts), answered(ours, longer)), "custom_id").pairs
    assert (beside.delta_median, beside.delta_high) == (100, pytest.approx(180))
    assert [bar.count for bar in beside.bars if bar.count] == [1, 1, 2, 1]


def test_foreign_hidden_and_deleted_answers_are_not_shown(http, ours, pair):
    foreign = answered(get_project(name="theirs"), {"a": "secret"}, model="spy")
    response = http.get("/compare", query(pair[0], foreign))
    page = response.content.decode()
    assert "secret" not in page and f"There is no batch {foreign.public_id}." in page
    assert "secret" not in http.get("/compare", query("model:spy", "model:small")).content.decode()
    delete_file(stored=StoredFile.objects.get(pk=pair[1].output_file_id))
    response = http.get("/compare", query(*pair))
    assert [row.row.cells[1] and row.row.cells[1].state for row in response.context["rows"]][
        0
    ] == "hidden"
    page = response.content.decode()
    assert "birds" not in page and "was deleted, or has expired" in page
    assert "birds" not in http.get("/compare/row", query(*pair, at="0.1")).content.decode()
    delete_batch(batch=pair[0])
    assert "There is no batch" in http.get("/compare", query(*pair)).content.decode()


def test_hidden_answers_of_a_model_are_as_if_they_were_not(http, ours):
    kept = answered(ours, {"a": "kept"}, model="one")
    gone = answered(ours, {"b": "gone"}, prompts={"b": "prompt of a"}, model="one")
    answered(ours, {"c": "other"}, prompts={"c": "prompt of a"}, model="two")
    delete_file(stored=StoredFile.objects.get(pk=gone.output_file_id))
    page = http.get("/compare", query("model:one", "model:two")).content.decode()
    assert "gone" not in page and "other" in page
    assert kept.public_id in page


def test_sides_of_two_projects_are_not_mixed(ours):
    person = make_person("both", project=ours)
    theirs = get_project(name="theirs")
    theirs.membership_set.create(user=person)
    client = Client()
    client.force_login(person)
    one, two = answered(ours, {"a": "1"}), answered(theirs, {"a": "2"})
    page = client.get("/compare", query(one, two)).content.decode()
    assert "is of another project than the first" in page and "cmp-row" not in page


def test_what_cannot_be_compared_is_said(http, ours):
    page = http.get("/compare", {"side": ["nonsense", "x" * 400, "a\0"]}).content.decode()
    assert "neither the id of a batch" in page and page.count("alert-warning") == 3
    assert "What answers differ" in http.get("/compare").content.decode()
    assert http.get("/compare/figures").status_code == 404
    assert Client().get("/compare").status_code == 302


def test_the_address_brings_the_view_back():
    wanted, _ = Comparing.read({"by": "prompt", "show": "same"}, ["batch_1", "model:a b&c"])
    assert wanted.address() == "?side=batch_1&side=model%3Aa+b%26c&by=prompt&show=same"
    assert Place.read(str(Place(2, 17))) == Place(2, 17)
