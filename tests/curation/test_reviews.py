"""Review sets: handed out once, judged, set back, disagreed on, settled, starred."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from curation.models import GoldStar, Review, ReviewEvent, ReviewItem, ReviewSet
from curation.services.reviews.claiming import assign_item, claim_next_item
from curation.services.search_index import index_responses
from jobs.models import BatchResponse, Project
from jobs.services.projects import get_project
from tests.cast import make_batch, make_person

RUBRIC = "quality: rating\nusable: good/bad"


@pytest.fixture
def people(ours) -> list[User]:
    return [make_person(name, project=ours) for name in ("ada", "bob", "cyd")]


def client_of(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def make_set(person: User, project: Project, *, answers: int = 3, **form: str) -> ReviewSet:
    batch = make_batch(
        project=project,
        state="completed",
        ended_at=timezone.now(),
        texts=[f"answer {number}" for number in range(answers)],
        errors=["an error"],
    )
    index_responses()
    order = {"name": "First", "project": project.name, "rubric": RUBRIC, "overlap": "2"}
    response = client_of(person).post(
        "/curation", {**order, "filter": f"batch={batch.public_id}", **form}
    )
    assert response.status_code == 302, response.content.decode()
    return ReviewSet.objects.latest("pk")


def review(person: User, of: ReviewSet, position: int | None = None, verb="submit", **form: str):
    """Judge the next item, or the one at a position, as the page does."""
    client = client_of(person)
    if position is None:
        at = client.get(f"/curation/{of.public_id}/review")
        assert at.status_code == 302, "nothing was left"
        position = int(at["Location"].rsplit("/", 1)[1])
    values = {"value-quality": "8", "value-usable": "good", **form}
    return client.post(f"/curation/{of.public_id}/review/{position}", {**values, "verb": verb})


def test_a_set_is_filled_by_a_filter_with_what_was_answered(people, ours):
    made = make_set(people[0], ours)
    assert [item.custom_id for item in made.items.order_by("position")] == [
        *("line-0", "line-1", "line-2")
    ]
    client = client_of(people[0])
    client.post(f"/curation/{made.public_id}/add", {"filter": "q=answer"})
    assert made.items.count() == 3  # Each answer once.
    page = client.post(f"/curation/{made.public_id}/add", {"filter": "colour=red"}, follow=True)
    assert "Nothing was added" in page.content.decode()
    some = make_set(people[0], ours, name="Second", answers=9, sample="4", seed="7")
    again = make_set(people[0], ours, name="Third", answers=9, sample="4", seed="7")

    def lines(of):
        return list(of.items.order_by("position").values_list("custom_id", flat=True))

    assert len(lines(some)) == 4 and lines(some) == lines(again)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": ""}, "give a name"),
        ({"rubric": "quality: stars"}, "the kind of"),
        ({"overlap": "10"}, "from 1 to 9"),
        ({"project": "theirs"}, "Choose a project"),
    ],
)
def test_what_is_wrong_with_a_set_is_said(people, ours, form, words):
    order = {"name": "First", "project": "ours", "rubric": RUBRIC, "overlap": "2", **form}
    response = client_of(people[0]).post("/curation", order)
    assert response.status_code == 400 and words in response.content.decode()
    assert not ReviewSet.objects.exists()


def test_no_item_goes_to_more_people_than_the_overlap(people, ours):
    ada, bob, cyd = people
    made = make_set(ada, ours, answers=1)
    first = claim_next_item(review_set=made, reviewer=ada)
    assert claim_next_item(review_set=made, reviewer=ada) == first
    assert claim_next_item(review_set=made, reviewer=bob) is not None
    assert claim_next_item(review_set=made, reviewer=cyd) is None
    # A lease that is over frees the place, and what the first wrote later is kept as a draft.
    Review.objects.filter(reviewer=ada).update(lease_until="2020-01-01T00:00:00Z")
    assert claim_next_item(review_set=made, reviewer=cyd) is not None
    late = review(ada, made, 0, notes="my view")
    assert late.status_code == 409
    assert "kept as a draft" in late.content.decode()
    kept = Review.objects.get(reviewer=ada)
    assert (kept.state, kept.holds, kept.notes) == ("draft", False, "my view")
    assert ReviewItem.objects.get().taken == 2
    for person in (bob, cyd):
        assert review(person, made).status_code == 302
    assert ReviewItem.objects.get().done == 2


def test_an_assigned_item_waits_for_its_person(people, ours):
    ada, bob, _ = people
    made = make_set(ada, ours, answers=2, overlap="1")
    last = made.items.get(position=1)
    assert assign_item(item=last, reviewer=bob) is not None
    assert assign_item(item=last, reviewer=ada) is None
    assert claim_next_item(review_set=made, reviewer=bob).position == 1
    assert claim_next_item(review_set=made, reviewer=ada).position == 0


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_are_never_given_the_same_item(ours):
    people = [make_person(f"p{number}", project=ours) for number in range(20)]
    made = make_set(people[0], ours, answers=60, overlap="1")
    given: list[tuple[str, int]] = []
    failed: list[BaseException] = []

    def work(person: User) -> None:
        try:
            for _ in range(10):
                found = claim_next_item(review_set=made, reviewer=person)
                if found is None:
                    return
                given.append((person.username, found.position))
                Review.objects.filter(pk=found.pk).update(state="submitted")
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert sorted(position for _, position in given) == list(range(60))
    assert set(made.items.values_list("taken", "is_open")) == {(1, False)}


def test_a_review_is_kept_as_a_draft_submitted_changed_and_set_back(people, ours):
    ada = people[0]
    made = make_set(ada, ours)
    assert review(ada, made, verb="draft", **{"value-usable": ""}).status_code == 302
    assert Review.objects.get().state == "draft"
    missing = review(ada, made, 0, **{"value-usable": ""})
    assert missing.status_code == 409
    assert "usable: it is still to be judged" in missing.content.decode()
    review(ada, made, 0, edited_answer="better\r\nline", tags="a, b", notes="n")
    kept = Review.objects.get(position=0)
    assert (kept.state, kept.values) == ("submitted", {"quality": 8, "usable": "good"})
    assert (kept.edited_answer, kept.tags) == ("better\nline", ["a", "b"])
    assert ReviewItem.objects.get(position=0).done == 1
    stale = review(ada, made, 0, revision="1")
    assert stale.status_code == 409 and "changed meanwhile" in stale.content.decode()
    review(ada, made, 0, verb="undo")
    kept.refresh_from_db()
    assert (kept.state, kept.edited_answer) == ("draft", "better\nline")
    assert ReviewItem.objects.get(position=0).done == 0
    review(ada, made, 0, verb="undo")
    kept.refresh_from_db()
    assert kept.state == "submitted" and kept.edited_answer == "better\nline"
    review(ada, made, 0, verb="discard")
    assert ReviewItem.objects.get(position=0).done == 1
    assert ReviewEvent.objects.filter(review=kept).count() == 5
    # An answer that is left as it was is no edit.
    review(ada, made, 0, edited_answer="answer 0")
    kept.refresh_from_db()
    assert kept.edited_answer is None


def test_an_item_is_starred_while_it_is_judged(people, ours):
    made = make_set(people[0], ours)
    unrated = review(people[0], made, verb="star", **{"value-quality": ""})
    assert "rate the answer first" in unrated.content.decode()
    review(people[0], made, 0, verb="star", edited_answer="better", tags="t")
    star = GoldStar.objects.get()
    assert (star.quality_score, star.edited_answer, star.tags) == (8, "better", ["t"])
    assert star.created_by_name == "ada"


def test_disagreements_are_settled_and_become_stars(people, ours):
    ada, bob, _ = people
    made = make_set(ada, ours)
    for position, (one, other) in enumerate([("9", "9"), ("9", "4"), ("2", "3")]):
        claim_next_item(review_set=made, reviewer=ada)
        review(ada, made, position, **{"value-quality": one}, edited_answer="from ada", tags="a")
        claim_next_item(review_set=made, reviewer=bob)
        review(bob, made, position, **{"value-quality": other}, tags="b")
    client = client_of(ada)
    page = client.get(f"/curation/{made.public_id}").content.decode()
    assert "3 of 3" not in page and "Krippendorff" in page
    differing = client.get(f"/curation/{made.public_id}/adjudicate").content.decode()
    assert "line-1" in differing and "line-0" not in differing and "line-2" not in differing
    word = {
        "value-quality": "9",
        "value-usable": "good",
        "edited_answer": "the last",
        "verb": "keep",
    }
    at = f"/curation/{made.public_id}/adjudicate/1"
    client.post(at, {**word, "revision": "0"})
    late = client.post(at, {**word, "revision": "0", "value-quality": "1"}, follow=True)
    assert "Somebody else has said the last word" in late.content.decode()
    assert (
        "No open disagreement"
        in client.get(f"/curation/{made.public_id}/adjudicate").content.decode()
    )
    starred = client.post(f"/curation/{made.public_id}/star", {"min_rating": "8"}, follow=True)
    assert "2 answers starred." in starred.content.decode()
    stars = {star.custom_id: star for star in GoldStar.objects.all()}
    assert (stars["line-0"].edited_answer, stars["line-0"].tags) == ("from ada", ["a", "b"])
    assert (stars["line-1"].quality_score, stars["line-1"].edited_answer) == (9, "the last")
    undo = starred.content.decode().split('formaction="/undo/')[1].split('"')[0]
    client.post(f"/undo/{undo}")
    assert not GoldStar.objects.filter(removed_at__isnull=True).exists()
    client.post(at, {"verb": "withdraw"})
    assert "line-1" in client.get(f"/curation/{made.public_id}/adjudicate").content.decode()


def test_a_set_outlives_its_batch_and_keeps_its_rubric(people, ours):
    made = make_set(people[0], ours)
    review(people[0], made)
    BatchResponse.objects.all().delete()
    client = client_of(people[0])
    assert (
        "answer 1" in client.get(f"/curation/{made.public_id}/review", follow=True).content.decode()
    )
    gone = review(people[0], made, 0, verb="star")
    assert "The batch of this answer was deleted" in gone.content.decode()
    changed = client.post(
        f"/curation/{made.public_id}/change", {"rubric": "other: rating"}, follow=True
    )
    assert "it stays as it is" in changed.content.decode()
    client.post(f"/curation/{made.public_id}/change", {"closed": "true"})
    assert "This set is closed" in client.get(f"/curation/{made.public_id}/review").content.decode()


def test_strangers_see_nothing_and_viewers_judge_nothing(people, ours):
    made = make_set(people[0], ours)
    stranger = client_of(make_person("stranger", project=get_project(name="theirs")))
    at = f"/curation/{made.public_id}"
    for path in (at, f"{at}/review", f"{at}/items", f"{at}/adjudicate"):
        assert stranger.get(path).status_code == 404
    viewer = client_of(make_person("viewer", project=ours, role="viewer"))
    assert viewer.get(at).status_code == 200 and viewer.get(f"{at}/items").status_code == 200
    assert viewer.get(f"{at}/review").status_code == 403
    assert viewer.post(f"{at}/star", {"min_rating": "8"}).status_code == 403
    review(people[0], made)
    assert client_of(people[1]).get(f"{at}/review/0").status_code == 404


def test_undo_on_an_item_not_touched_yet_sets_back_ones_last_deed(people, ours):
    ada = people[0]
    made = make_set(ada, ours)
    nothing = review(ada, made, verb="undo")
    assert "did=nothing" in nothing["Location"]
    review(ada, made, 0, verb="discard")
    back = review(ada, made, 1, verb="undo")
    assert "/review/0?did=undo" in back["Location"]
    assert Review.objects.get(position=0).state == "draft"
    assert Review.objects.get(position=1).state == "pending"


def test_a_filter_that_is_none_makes_no_set(people, ours):
    order = {"name": "First", "project": "ours", "rubric": RUBRIC, "overlap": "2"}
    for wrong in ("modell=x", "batch_nope", "colour"):
        response = client_of(people[0]).post("/curation", {**order, "filter": wrong})
        assert response.status_code == 400
        assert "The filter is not one of Results" in response.content.decode()
    assert not ReviewSet.objects.exists()
