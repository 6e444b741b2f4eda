"""Blind votes: nothing tells whose answer is whose, once a person, all can be taken back."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from django.test import Client

from curation.models import Comparison, Vote
from jobs.models import Role
from jobs.services.deleting import delete_batch
from jobs.services.projects import get_project
from tests.cast import make_person
from tests.curation.test_compare import answered, query

pytestmark = pytest.mark.django_db
ROWS = 12


@pytest.fixture
def ours():
    return get_project(name="ours")


def client_of(name, project, **more):
    client = Client()
    client.force_login(make_person(name, project=project, **more))
    return client


@pytest.fixture
def http(ours):
    return client_of("owner", ours)


@pytest.fixture
def batches(ours):
    """The first's answers begin with `good`, the second's with `poor`; the last row is the same."""
    good = {f"n{n}": f"good {n}" for n in range(ROWS)}
    poor = {f"n{n}": f"poor {n}" for n in range(ROWS)}
    return (
        answered(ours, {**good, "same": "alike"}, model="secret-one"),
        answered(ours, {**poor, "same": "alike"}, model="secret-two"),
    )


def address_of(batches):
    sides = "&".join(f"side={batch.public_id}" for batch in batches)
    return f"/compare/votes?{sides}"


@pytest.fixture
def comparison(http, batches):
    response = http.post(address_of(batches))
    assert response.status_code == 302 and response.url.endswith("/vote")
    return Comparison.objects.get()


def ask(http, comparison, start=""):
    page = http.get(f"/compare/{comparison.public_id}/vote{start}").content.decode()
    form = dict(re.findall(r'name="(place|token)" value="([^"]*)"', page))
    texts = re.findall(r"(good|poor) (\d+)", page)
    return page, form, texts


def vote(http, comparison, choice, /, **more):
    _, form, texts = ask(http, comparison)
    data = {**form, "choice": choice(texts) if callable(choice) else choice, **more}
    http.post(f"/compare/{comparison.public_id}/vote", data)
    return texts


def the_good(texts):
    return "left" if texts[0][0] == "good" else "right"


def test_the_page_does_not_tell_whose_answer_is_whose(http, comparison, batches):
    for _ in range(4):
        page, _, texts = ask(http, comparison)
        assert sorted(word for word, _ in texts) == ["good", "poor"]
        for batch in batches:
            assert batch.public_id not in page and batch.model_name not in page
        vote(http, comparison, "tie")


def test_whoever_is_chosen_wins_wherever_they_stood(http, comparison):
    lefts = Counter(vote(http, comparison, the_good)[0][0] for _ in range(ROWS))
    assert len(lefts) == 2, "both have stood left"
    votes = Vote.objects.all()
    assert votes.count() == ROWS and {one.choice for one in votes} == {"a"}
    page = http.get(f"/compare/{comparison.public_id}").content.decode()
    assert f"<b>{ROWS}</b> of {ROWS}" in page and f"<b>0</b> of {ROWS}" in page
    assert "win rate 100 %" in page and "win rate 0 %" in page
    standing = http.get(f"/compare/{comparison.public_id}").context["standing"]
    assert [rank.side for rank in standing.ranks] == [0, 1]
    assert standing.ranks[0].place == 1 and standing.ranks[1].place == 2


def test_each_row_is_asked_once_and_equal_answers_never(http, comparison):
    seen = [vote(http, comparison, "bad")[0][1] for _ in range(ROWS)]
    assert seen == [str(n) for n in range(ROWS)]
    page, form, _ = ask(http, comparison)
    assert "Nothing is left to vote on" in page and not form


def test_a_vote_sent_twice_counts_once(http, comparison):
    _, form, _ = ask(http, comparison)
    for choice in ("left", "right"):
        http.post(f"/compare/{comparison.public_id}/vote", {**form, "choice": choice})
    assert Vote.objects.count() == 1


def test_the_last_vote_can_be_taken_back_and_is_asked_again(http, comparison):
    vote(http, comparison, "left")
    (_, number), _ = vote(http, comparison, "left")
    response = http.post(f"/compare/{comparison.public_id}/undo")
    page = http.get(response.url).content.decode()
    assert f"good {number}" in page
    assert Vote.objects.filter(removed_at__isnull=True).count() == 1
    assert vote(http, comparison, "right")[0][1] == number
    assert Vote.objects.filter(removed_at__isnull=True).count() == 2
    stranger_to_votes = client_of("new", comparison.project)
    stranger_to_votes.post(f"/compare/{comparison.public_id}/undo")
    assert Vote.objects.filter(removed_at__isnull=True).count() == 2


def test_a_skipped_row_is_passed_over(http, comparison):
    page, _, texts = ask(http, comparison)
    start = re.search(r'href="(\?from=[^"]*)" data-vote-key="n"', page)[1]
    _, _, later = ask(http, comparison, start)
    assert int(later[0][1]) == int(texts[0][1]) + 1


def test_two_people_vote_on_the_same_rows_by_themselves(http, comparison):
    colleague = client_of("colleague", comparison.project)
    vote(http, comparison, the_good)
    texts = vote(
        colleague, comparison, lambda texts: "right" if the_good(texts) == "left" else "left"
    )
    assert texts[0][1] == "0"
    assert sorted(Vote.objects.values_list("voter_name", "choice")) == [
        ("colleague", "b"),
        ("owner", "a"),
    ]


def test_the_same_sides_are_the_same_comparison(http, comparison, batches):
    http.post(address_of(batches))
    assert Comparison.objects.count() == 1
    http.post(address_of(batches[::-1]))
    assert Comparison.objects.count() == 2


def test_viewers_look_and_strangers_do_not(http, comparison, batches):
    viewer = client_of("viewer", comparison.project, role=Role.VIEWER)
    assert viewer.get(f"/compare/{comparison.public_id}").status_code == 200
    assert viewer.get(f"/compare/{comparison.public_id}/vote").status_code == 403
    assert viewer.post(f"/compare/{comparison.public_id}/undo").status_code == 403
    assert viewer.post(address_of(batches)).status_code == 403
    assert "Vote blind" not in viewer.get("/compare", query(*batches)).content.decode()
    stranger = client_of("stranger", get_project(name="theirs"))
    for path in ("", "/vote"):
        assert stranger.get(f"/compare/{comparison.public_id}{path}").status_code == 404
    assert stranger.post(address_of(batches)).status_code == 404


def test_what_is_not_the_pair_that_was_seen_is_not_kept(http, comparison):
    for wrong in ({"token": "0" * 16}, {"place": "0.99"}, {"place": "x"}, {"choice": "both"}):
        vote(http, comparison, "left", **wrong)
    assert not Vote.objects.exists()


def test_votes_outlive_a_side(http, comparison, batches):
    vote(http, comparison, the_good)
    delete_batch(batch=batches[1])
    page, form, _ = ask(http, comparison)
    assert "A side is gone" in page and not form
    page = http.get(f"/compare/{comparison.public_id}").content.decode()
    assert "secret-two" in page and "<b>1</b> of 1" in page


def test_of_three_sides_each_row_asks_about_two(http, ours, batches):
    third = answered(ours, {f"n{n}": f"fair {n}" for n in range(ROWS)}, model="secret-three")
    http.post(address_of([*batches, third]))
    comparison = Comparison.objects.get()
    for _ in range(ROWS):
        vote(http, comparison, "tie")
    assert len(set(Vote.objects.values_list("a", "b"))) > 1
    page = http.get(f"/compare/{comparison.public_id}").content.decode()
    assert "against C" in page
