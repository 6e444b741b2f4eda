"""Who wins against whom: a matrix of votes, and Bradley-Terry strengths with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WIN, LOSS, TIE, BOTH_BAD = "a", "b", "tie", "bad"
CHOICES = (WIN, LOSS, TIE, BOTH_BAD)
# Points of the scale that chess uses: 400 are odds of ten to one.
POINTS = 400 / math.log(10)
_Z95 = 1.959964
_ROUNDS_MAX = 100


@dataclass(frozen=True, kw_only=True)
class Duel:
    """The votes between two sides, seen from the first; ties and both bad are half a win each."""

    wins: int = 0
    losses: int = 0
    ties: int = 0
    bad: int = 0

    @property
    def votes(self) -> int:
        return self.wins + self.losses + self.ties + self.bad

    @property
    def win_rate(self) -> float | None:
        """The share of votes won, from 0 to 1; None without votes."""
        even = self.ties + self.bad
        return (self.wins + even / 2) / self.votes if self.votes else None

    def turned(self) -> Duel:
        return Duel(wins=self.losses, losses=self.wins, ties=self.ties, bad=self.bad)


@dataclass(frozen=True, kw_only=True)
class Rank:
    """A side's strength in points about a mean of 0, between the bounds with 95 % confidence.

    `place` is one more than the number of sides that are better beyond their intervals, so
    several may share it. Without a vote `points` and bounds are None.
    """

    side: int
    votes: int
    points: float | None = None
    low: float | None = None
    high: float | None = None
    place: int | None = None


def count_duels(votes: Iterable[tuple[int, int, str, int]]) -> dict[tuple[int, int], Duel]:
    """Return the duels of each pair, from both sides; votes are (a, b, choice, how many)."""
    sums: dict[tuple[int, int], dict[str, int]] = {}
    for a, b, choice, number in votes:
        if choice not in CHOICES or a == b:
            raise ValueError(f"no vote: {a}, {b}, {choice}")
        pair, seen = ((a, b), choice)
        if a > b:
            pair = (b, a)
            seen = {WIN: LOSS, LOSS: WIN}.get(choice, choice)
        tally = sums.setdefault(pair, dict.fromkeys(CHOICES, 0))
        tally[seen] += number
    duels: dict[tuple[int, int], Duel] = {}
    for (a, b), tally in sums.items():
        one = Duel(wins=tally[WIN], losses=tally[LOSS], ties=tally[TIE], bad=tally[BOTH_BAD])
        duels[a, b], duels[b, a] = one, one.turned()
    return duels


def rank_sides(
    duels: Mapping[tuple[int, int], Duel], sides: int, *, prior: float = 1.0
) -> list[Rank]:
    """Return the sides, the strongest first, by the Bradley-Terry model.

    Found by Newton's method on the likelihood; intervals are of the normal approximation (the
    inverse of its information). `prior` is the weight of a tie that each pair with a vote is
    given beside its own votes: without it a side that never lost would be infinitely strong.
    Sides that no chain of votes joins cannot be told apart, and are each set about 0.
    """
    games: dict[tuple[int, int], tuple[float, float]] = {}
    voted = dict.fromkeys(range(sides), 0)
    for (a, b), duel in duels.items():
        if a < b and duel.votes:
            even = (duel.ties + duel.bad + prior) / 2
            games[a, b] = (duel.wins + even, duel.losses + even)
            voted[a] += duel.votes
            voted[b] += duel.votes
    ranks = []
    for group in _joined(sides, games):
        if len(group) == 1:
            ranks.append(Rank(side=group[0], votes=0))
            continue
        strengths, errors = _fit(group, games)
        for side, strength, error in zip(group, strengths, errors, strict=True):
            ranks.append(
                Rank(
                    side=side,
                    votes=voted[side],
                    points=strength * POINTS,
                    low=(strength - _Z95 * error) * POINTS,
                    high=(strength + _Z95 * error) * POINTS,
                )
            )
    return _placed(ranks)


def _placed(ranks: list[Rank]) -> list[Rank]:
    placed = []
    for one in ranks:
        if one.high is None:
            placed.append(one)
            continue
        better = sum(1 for other in ranks if other.low is not None and other.low > one.high)
        placed.append(
            Rank(
                side=one.side,
                votes=one.votes,
                points=one.points,
                low=one.low,
                high=one.high,
                place=better + 1,
            )
        )
    return sorted(placed, key=lambda one: (one.points is None, -(one.points or 0.0), one.side))


def _joined(sides: int, games: Mapping[tuple[int, int], object]) -> list[list[int]]:
    """Return the sides in groups, each held together by votes."""
    group = list(range(sides))
    for a, b in games:
        old, new = group[b], group[a]
        group = [new if one == old else one for one in group]
    return [[side for side in range(sides) if group[side] == name] for name in dict.fromkeys(group)]


def _fit(
    group: list[int], games: Mapping[tuple[int, int], tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """Return the logarithms of strength, of sum 0, and their standard errors."""
    size = len(group)
    place = {side: number for number, side in enumerate(group)}
    strengths = [0.0] * size
    information: list[list[float]] = []
    for _ in range(_ROUNDS_MAX):
        slope = [0.0] * size
        # The strengths sum to 0; the constant makes the matrix invertible without moving them.
        information = [[1.0 / size] * size for _ in range(size)]
        for (a, b), (wins, losses) in games.items():
            if a not in place:
                continue
            i, j = place[a], place[b]
            chance = 1 / (1 + math.exp(strengths[j] - strengths[i]))
            gain = wins - (wins + losses) * chance
            weight = (wins + losses) * chance * (1 - chance)
            slope[i] += gain
            slope[j] -= gain
            information[i][i] += weight
            information[j][j] += weight
            information[i][j] -= weight
            information[j][i] -= weight
        inverse = _inverse(information)
        step = [sum(row[k] * slope[k] for k in range(size)) for row in inverse]
        longest = max(abs(one) for one in step)
        # A long step may overshoot.
        shrink = min(1.0, 2.0 / longest) if longest else 1.0
        strengths = [one + shrink * move for one, move in zip(strengths, step, strict=True)]
        if longest < 1e-10:
            break
    inverse = _inverse(information)
    # What the constant has added is along all sides alike.
    errors = [math.sqrt(max(0.0, inverse[i][i] - 1.0 / size)) for i in range(size)]
    return strengths, errors


def _inverse(matrix: list[list[float]]) -> list[list[float]]:
    """Invert by Gauss and Jordan: a handful of sides needs no library."""
    size = len(matrix)
    rows = [[*row, *(1.0 if i == j else 0.0 for j in range(size))] for i, row in enumerate(matrix)]
    for at in range(size):
        pivot = max(range(at, size), key=lambda i: abs(rows[i][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        head = rows[at][at]
        rows[at] = [value / head for value in rows[at]]
        for i in range(size):
            if i != at and rows[i][at]:
                factor = rows[i][at]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[at], strict=True)]
    return [row[size:] for row in rows]
