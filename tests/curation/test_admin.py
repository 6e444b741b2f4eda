"""Curation in the Django admin: a team works there alone, in its own projects."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from curation.models import GoldEvent, GoldStar, ResponseSearch, Review, ReviewItem, ReviewSet
from curation.services.reviews.sets import create_review_set
from curation.services.search_index import index_responses
from jobs.models import Project
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
def ours(db) -> Project:
    return get_project(name="ours")


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
    assert curator.post(at, {**form, **inline}).status_code == 302
    star = GoldStar.objects.get(pk=stars[0].pk)
    assert (star.quality_score, star.tags, star.edited_answer) == (9, ["a", "b"], "better")
    assert star.events.get().before["quality_score"] == 8
    wrong = curator.post(at, {**form, **inline, "quality_score": "11"}).content.decode()
    assert "must be from 1 to 10" in wrong


def test_stars_are_exported_in_a_shape(curator, stars):
    response = act(curator, "goldstar", "export", GoldStar.objects.all(), shape="openai-sft")
    assert len(b"".join(response).splitlines()) == 3
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
