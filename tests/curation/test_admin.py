"""Curation in the Django admin: a team works there alone, in its own projects."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from curation.models import GoldEvent, GoldStar, ResponseSearch, Review, ReviewItem, ReviewSet
from curation.services.gold import change_star
from curation.services.reviews.sets import add_responses, create_review_set
from curation.services.search_index import index_responses
from jobs.models import Project, StoredFile
from jobs.services.projects import get_project
from tests.cast import make_batch, make_person
from tests.curation.gold import make_stars

pytestmark = pytest.mark.django_db


def staff(name: str, group: str, project: Project, role: str = "member") -> Client:
    person = make_person(name, project=project, role=role)
    person.is_staff = True
    person.save()
    person.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def curator(ours) -> Client:
    return staff("curator", "curator", ours)


@pytest.fixture
def stars(ours) -> list[GoldStar]:
    make_stars(get_project(name="theirs"), 2, batch_public_id="batch_" + "1" * 32)
    return make_stars(ours, 3)


def act(client: Client, model: str, action: str, rows, **form: str):
    return client.post(
        f"/admin/curation/{model}/",
        {"action": action, "_selected_action": [row.pk for row in rows], **form},
        follow=True,
    )


@pytest.mark.parametrize("group", ["reviewer", "curator", "admin"])
def test_each_group_opens_its_tables(ours, stars, group):
    client = staff("person", group, ours)
    tables = ["goldstar", "responsesearch", "reviewset", "reviewitem", "dataset", "export"]
    for table in tables:
        assert client.get(f"/admin/curation/{table}/").status_code == 200, table
    page = client.get("/admin/curation/goldstar/").content.decode()
    assert page.count("action-checkbox") - 1 == 3 or page.count("line-") >= 3
    assert client.get("/admin/jobs/servedmodel/").status_code == 403


def test_stars_are_changed_tagged_taken_back_and_undone_in_bulk(curator, stars):
    every = GoldStar.objects.all()
    act(curator, "goldstar", "set_score", every, score="3")
    scores = dict(every.values_list("project__name", "quality_score"))
    assert scores == {"ours": 3, "theirs": 8}
    act(curator, "goldstar", "add_tag", stars, tag="set-a")
    assert every.filter(tags=["set-a"]).count() == 3
    act(curator, "goldstar", "unstar", stars[:1])
    assert every.get(pk=stars[0].pk).removed_at is not None
    act(curator, "goldstar", "undo", stars)
    assert every.filter(tags=[], removed_at=None, project__name="ours").count() == 2
    page = act(curator, "goldstar", "set_score", stars, score="11").content.decode()
    assert "must be from 1 to 10" in page
    assert GoldEvent.objects.filter(actor_name="curator").exists()


def test_a_star_is_changed_on_its_page_through_the_services(curator, stars):
    at = f"/admin/curation/goldstar/{stars[0].pk}/change/"
    inline = {"events-TOTAL_FORMS": "0", "events-INITIAL_FORMS": "0"}
    form = {"quality_score": "9", "tags": "a, b", "notes": "n", "edited_answer": "better"}
    form["seen_revision"] = "1"
    assert curator.post(at, {**form, **inline}).status_code == 302
    star = GoldStar.objects.get(pk=stars[0].pk)
    assert (star.quality_score, star.tags, star.edited_answer) == (9, ["a", "b"], "better")
    assert star.events.get().before["quality_score"] == 8
    wrong = curator.post(
        at, {**form, **inline, "quality_score": "11", "seen_revision": "2"}
    ).content.decode()
    assert "must be from 1 to 10" in wrong


def test_stars_are_exported_in_a_shape(curator, stars):
    response = act(curator, "goldstar", "export", GoldStar.objects.all(), shape="openai-sft")
    with CaptureQueriesContext(connection) as asked:
        assert len(b"".join(response).splitlines()) == 3
    assert len(asked) <= 2, "rows are read one by one"
    assert "openai-sft" in response["Content-Disposition"]


def test_a_reviewer_and_a_viewer_change_no_star(ours, stars):
    reviewer = staff("reviewer", "reviewer", ours)
    act(reviewer, "goldstar", "set_score", stars, score="3")
    viewer = staff("viewer", "curator", ours, role="viewer")
    act(viewer, "goldstar", "set_score", stars, score="3")
    assert not GoldStar.objects.filter(quality_score=3).exists()


def test_answers_are_found_starred_and_put_into_a_review_set(curator, ours):
    batch = make_batch(
        project=ours,
        state="completed",
        ended_at=timezone.now(),
        texts=["a river", "a town"],
        errors=["no"],
    )
    index_responses()
    page = curator.get("/admin/curation/responsesearch/?q=river").content.decode()
    assert "line-0" in page and "line-1" not in page
    rows = ResponseSearch.objects.all()
    page = act(curator, "responsesearch", "star", rows, score="7").content.decode()
    assert "2 answers starred." in page and "Not starred: line-2" in page
    create_review_set(project=ours, name="Tone", rubric="quality: rating")
    act(curator, "responsesearch", "add_to_review_set", rows, review_set="Tone")
    assert ReviewItem.objects.count() == 2 and batch.pk


def test_a_team_reviews_in_the_admin_alone(curator, ours):
    project = str(ours.pk)
    curator.post(
        "/admin/curation/reviewset/add/",
        {
            "project": project,
            "name": "Tone",
            "guidelines": "",
            "rubric": "quality: rating\ntone: choice kind, rude",
            "overlap": "1",
        },
    )
    made = ReviewSet.objects.get()
    assert made.created_by_name == "curator"
    make_batch(project=ours, state="completed", ended_at=timezone.now(), texts=["a", "b"])
    index_responses()
    act(
        curator,
        "responsesearch",
        "add_to_review_set",
        ResponseSearch.objects.all(),
        review_set="Tone",
    )
    reviewer = staff("reviewer", "reviewer", ours)
    items = list(ReviewItem.objects.order_by("position"))
    act(curator, "reviewitem", "assign", items, reviewer="reviewer")
    assert Review.objects.filter(reviewer=User.objects.get(username="reviewer")).count() == 2
    at = f"/admin/curation/reviewitem/{items[0].pk}/change/"
    assert "tone" in reviewer.get(at).content.decode()
    review = items[0].reviews.get()
    form = {
        "reviews-TOTAL_FORMS": "1",
        "reviews-INITIAL_FORMS": "1",
        "reviews-0-id": str(review.pk),
        "reviews-0-item": str(items[0].pk),
        "reviews-0-state": "submitted",
        "reviews-0-value_0": "9",
        "reviews-0-value_1": "kind",
        "reviews-0-tags": "x",
        "reviews-0-notes": "",
        "reviews-0-edited_answer": "better",
    }
    missing = reviewer.post(at, {**form, "reviews-0-value_1": ""}).content.decode()
    assert "still to be judged" in missing
    assert reviewer.post(at, form).status_code == 302
    review.refresh_from_db()
    assert (review.state, review.values) == ("submitted", {"quality": 9, "tone": "kind"})
    assert (review.edited_answer, review.tags) == ("better", ["x"])
    # What is a colleague's is not taken over by opening it.
    assert curator.get(at).status_code == 200
    assert items[0].reviews.count() == 1


def test_what_stands_in_a_file_that_is_gone_is_neither_listed_nor_found(curator, ours):
    batch = make_batch(project=ours, texts=["a river"], errors=["no"])
    index_responses()
    at = "/admin/curation/responsesearch/"
    row = ResponseSearch.objects.get(ok=True)
    assert "line-0" in curator.get(f"{at}?q=river").content.decode()
    StoredFile.objects.filter(pk=batch.output_file_id).update(expires_at=timezone.now())
    page = curator.get(at).content.decode()
    assert "line-0" not in page and "line-1" in page
    assert "line-0" not in curator.get(f"{at}?q=river").content.decode()
    assert curator.get(f"{at}{row.pk}/change/").status_code == 302
    act(curator, "responsesearch", "star", [row], score="7")
    assert not GoldStar.objects.exists()


def test_lists_read_no_bodies(curator, ours, stars):
    made = create_review_set(project=ours, name="Tone", rubric="quality: rating")
    make_batch(project=ours, texts=["x"])
    index_responses()
    add_responses(review_set=made, rows=ResponseSearch.objects.all())
    for table, bodies in (
        ("responsesearch", ('"jobs_batchrequest"."body"', '"jobs_batchresponse"."body"')),
        ("goldstar", ('"request_body"', '"response_body"', '"answer_text"')),
        ("reviewitem", ('"request_body"', '"response_body"', '"answer_text"')),
    ):
        with CaptureQueriesContext(connection) as asked:
            assert curator.get(f"/admin/curation/{table}/").status_code == 200
        assert not [one for one in asked if any(body in one["sql"] for body in bodies)], table


def test_a_page_that_is_out_of_date_sets_nothing_back(curator, stars):
    at = f"/admin/curation/goldstar/{stars[0].pk}/change/"
    assert 'name="seen_revision" value="1"' in curator.get(at).content.decode()
    change_star(star=stars[0], quality_score=2)
    form = {"quality_score": "8", "tags": "", "notes": "mine", "edited_answer": ""}
    inline = {"events-TOTAL_FORMS": "0", "events-INITIAL_FORMS": "0"}
    stale = curator.post(at, {**form, **inline, "seen_revision": "1"})
    assert stale.status_code == 200 and "Somebody else has changed" in stale.content.decode()
    star = GoldStar.objects.get(pk=stars[0].pk)
    assert (star.quality_score, star.notes) == (2, "")
    assert curator.post(at, {**form, **inline, "seen_revision": "2"}).status_code == 302
    assert GoldStar.objects.get(pk=stars[0].pk).notes == "mine"


def test_one_star_that_cannot_be_tagged_stops_no_other(curator, stars):
    GoldStar.objects.filter(pk=stars[1].pk).update(tags=[f"t{number}" for number in range(50)])
    page = act(curator, "goldstar", "add_tag", stars, tag="new").content.decode()
    assert "2 gold stars tagged." in page and "1 gold stars are as they were" in page
    assert GoldStar.objects.filter(tags=["new"]).count() == 2


def test_a_reviewer_sees_what_others_said_once_it_was_said_by_oneself(curator, ours):
    made = create_review_set(project=ours, name="Tone", rubric="quality: rating", overlap=2)
    make_batch(project=ours, texts=["a"])
    index_responses()
    act(
        curator,
        "responsesearch",
        "add_to_review_set",
        ResponseSearch.objects.all(),
        review_set="Tone",
    )
    first, second = staff("first", "reviewer", ours), staff("second", "reviewer", ours)
    item = ReviewItem.objects.get(review_set=made)
    at = f"/admin/curation/reviewitem/{item.pk}/change/"

    def judge(client: Client, name: str) -> None:
        review = item.reviews.get(reviewer_name=name)
        form = {
            "reviews-TOTAL_FORMS": "1",
            "reviews-INITIAL_FORMS": "1",
            "reviews-0-id": str(review.pk),
            "reviews-0-item": str(item.pk),
            "reviews-0-state": "submitted",
            "reviews-0-value_0": "9",
        }
        assert client.post(at, form).status_code == 302

    said = "first: submitted"
    assert first.get(at).status_code == 200
    judge(first, "first")
    assert said not in second.get(at).content.decode()
    assert said in curator.get(at).content.decode()
    judge(second, "second")
    assert said in second.get(at).content.decode()


def test_who_may_only_look_opens_each_page(ours, stars):
    make_batch(project=ours, texts=["a"])
    index_responses()
    made = create_review_set(project=ours, name="Tone", rubric="quality: rating")
    add_responses(review_set=made, rows=ResponseSearch.objects.all())
    for group, role in (("reviewer", "member"), ("curator", "viewer"), ("admin", "viewer")):
        client = staff(f"{group}-{role}", group, ours, role)
        for row in (stars[0], ResponseSearch.objects.get(), made, made.items.get()):
            at = f"/admin/curation/{row._meta.model_name}/{row.pk}/change/"
            page = client.get(at)
            assert page.status_code == 200, (group, at)
            assert "seen revision" not in page.content.decode().lower()
