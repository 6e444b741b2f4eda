"""Strengths and intervals equal those of a reference; the matrix counts what was voted."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from curation.ranking import POINTS, Duel, count_duels, rank_sides


def test_duels_are_counted_from_both_sides():
    duels = count_duels([(0, 1, "a", 3), (1, 0, "a", 2), (0, 1, "tie", 1), (0, 1, "bad", 4)])
    assert duels[0, 1] == Duel(wins=3, losses=2, ties=1, bad=4)
    assert duels[1, 0] == Duel(wins=2, losses=3, ties=1, bad=4)
    assert duels[0, 1].win_rate == pytest.approx(0.55)
    assert Duel().win_rate is None
    with pytest.raises(ValueError, match="no vote"):
        count_duels([(0, 1, "left", 1)])


def test_two_sides_have_the_odds_of_their_votes():
    ranks = rank_sides(count_duels([(0, 1, "a", 30), (0, 1, "b", 10)]), 2, prior=0)
    assert [one.side for one in ranks] == [0, 1]
    gap = (ranks[0].points - ranks[1].points) / POINTS
    assert gap == pytest.approx(math.log(3))
    # Of a gap with information 40 · 0.75 · 0.25, each side bears half.
    error = 1 / math.sqrt(40 * 0.75 * 0.25) / 2
    assert (ranks[0].high - ranks[0].low) / 2 / POINTS == pytest.approx(1.959964 * error)


def reference(duels, sides):
    """Bradley-Terry as a logistic regression without penalty; errors by the pseudo-inverse."""
    rows, wins, weights = [], [], []
    for (a, b), duel in duels.items():
        if a < b:
            for won, number in ((1, duel.wins), (0, duel.losses)):
                row = [0.0] * sides
                row[a], row[b] = 1.0, -1.0
                rows.append(row)
                wins.append(won)
                weights.append(number + (duel.ties + duel.bad) / 2)
    x = np.array(rows)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000)
    model.fit(x, wins, sample_weight=weights)
    strengths = model.coef_[0] - model.coef_[0].mean()
    chance = 1 / (1 + np.exp(-x @ strengths))
    information = x.T @ np.diag(np.array(weights) * chance * (1 - chance)) @ x
    return strengths, np.sqrt(np.diag(np.linalg.pinv(information)))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.randoms(use_true_random=False))
def test_strengths_and_errors_equal_a_reference(sides, draw):
    votes = [
        (a, b, choice, draw.randint(1, 30))
        for a in range(sides)
        for b in range(a + 1, sides)
        for choice in ("a", "b", "tie")
    ]
    duels = count_duels(votes)
    strengths, errors = reference(duels, sides)
    for one in rank_sides(duels, sides, prior=0):
        assert one.points / POINTS == pytest.approx(strengths[one.side], abs=1e-3)
        half = (one.high - one.low) / 2 / POINTS
        assert half == pytest.approx(1.959964 * errors[one.side], rel=1e-3)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    draw = random.Random(7)
    truth = [0.8, 0.1, -0.9]
    held = total = 0
    for _ in range(200):
        votes = []
        for a, b in ((0, 1), (0, 2), (1, 2)):
            chance = 1 / (1 + math.exp(truth[b] - truth[a]))
            won = sum(draw.random() < chance for _ in range(80))
            votes += [(a, b, "a", won), (a, b, "b", 80 - won)]
        for one in rank_sides(count_duels(votes), 3):
            total += 1
            held += one.low <= truth[one.side] * POINTS <= one.high
    assert 0.92 < held / total < 0.98


def test_who_never_lost_is_finite_and_who_has_no_votes_is_unknown():
    ranks = rank_sides(count_duels([(0, 2, "a", 12)]), 3)
    assert [one.side for one in ranks] == [0, 2, 1]
    assert math.isfinite(ranks[0].points) and ranks[0].votes == 12
    assert ranks[2].points is None and ranks[2].place is None


def test_sides_within_their_intervals_share_a_place():
    close = rank_sides(count_duels([(0, 1, "a", 11), (0, 1, "b", 9)]), 2)
    assert [one.place for one in close] == [1, 1]
    clear = rank_sides(count_duels([(0, 1, "a", 90), (0, 1, "b", 10)]), 2)
    assert [one.place for one in clear] == [1, 2]
