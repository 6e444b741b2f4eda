"""Blind votes between two answers: which pair a person is asked about, the vote, taking it back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count
from django.utils import timezone

from curation.comparing import Comparing, Place
from curation.models import Comparison, Vote, VoteChoice
from curation.ranking import Duel, Rank, count_duels, rank_sides
from curation.services.compare_cells import ANSWERED, Side
from curation.services.compare_rows import Row, row_at, walk_rows
from jobs.services.audit import current_actor

# So many rows are looked at for one in which two sides answered differently.
LOOK_ROWS = 2_000
LEFT, RIGHT = "left", "right"
CHOICES = (LEFT, RIGHT, VoteChoice.TIE, VoteChoice.BOTH_BAD)


class CannotVote(Exception):
    """The vote was not kept; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers of a row for one person: the numbers of the sides, a < b, and which is left.

    `token` stands for exactly these two answers in this order, and tells nothing of them.
    """

    row: Row
    a: int
    b: int
    left_is_a: bool
    token: str

    @property
    def left(self) -> int:
        return self.a if self.left_is_a else self.b

    @property
    def right(self) -> int:
        return self.b if self.left_is_a else self.a


@dataclass(frozen=True, kw_only=True)
class NextPair:
    """The next pair; None at the end, or where `looked_on_to` says that there is more to see."""

    pair: Pair | None
    looked_on_to: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Standing:
    votes: int
    duels: dict[tuple[int, int], Duel]
    ranks: list[Rank]
    voters: list[tuple[str, int]]


def create_comparison(*, wanted: Comparing, sides: Sequence[Side]) -> Comparison:
    """Return the comparison of these sides, making it on first use."""
    if len(sides) < 2:
        raise CannotVote("Two sides at least are needed to vote between them.")
    actor = current_actor()
    made, _ = Comparison.objects.get_or_create(
        project_id=sides[0].project_id,
        by=wanted.by,
        sides=[side.key for side in sides],
        defaults={
            "model_names": [side.model_name for side in sides],
            "created_by_id": actor.user_id,
            "created_by_name": actor.words[:200],
        },
    )
    return made


def find_pair(
    *, comparison: Comparison, sides: Sequence[Side], voter: Any, start: Place | None = None
) -> NextPair:
    """Return the next two answers that a person has not seen, from `start` or their last vote on.

    Rows in which fewer than two sides answered, or all answered the same, are passed over.
    """
    mine = Vote.objects.filter(comparison=comparison, voter=voter, removed_at__isnull=True)
    if start is None:
        last = mine.order_by("-pk").values_list("place", flat=True).first()
        start = Place.read(last) if last else None
    cost = 0
    for some in walk_rows(sides, comparison.by, start=start):
        keys = [row.key for row in some.rows]
        voted = set(mine.filter(key__in=keys).values_list("key", flat=True))
        for row in some.rows:
            pair = None if row.key in voted else pair_of(comparison, row, voter)
            if pair is not None:
                return NextPair(pair=pair)
        cost += some.cost
        if cost >= LOOK_ROWS and some.after is not None:
            return NextPair(pair=None, looked_on_to=some.after)
    return NextPair(pair=None)


def pair_of(comparison: Comparison, row: Row, voter: Any) -> Pair | None:
    """Choose two sides of a row, the same ones for everybody, and their order for this person."""
    able = [
        number
        for number, cell in enumerate(row.cells)
        if cell is not None and cell.state == ANSWERED
    ]
    pairs = [(a, b) for a, b in combinations(able, 2) if _digest(row, a) != _digest(row, b)]
    if not pairs:
        return None
    drawn = _draw(comparison.seed, "pair", row.key)
    a, b = pairs[drawn % len(pairs)]
    left_is_a = _draw(comparison.seed, "order", row.key, str(voter.pk)) % 2 == 0
    ids = [cell.request_id for number in (a, b) if (cell := row.cells[number]) is not None]
    token = f"{_draw(comparison.seed, 'token', str(left_is_a), *map(str, ids)):016x}"
    return Pair(row=row, a=a, b=b, left_is_a=left_is_a, token=token)


def cast_vote(
    *,
    comparison: Comparison,
    sides: Sequence[Side],
    voter: Any,
    place: Place,
    token: str,
    choice: str,
) -> Vote:
    """Keep a vote for `left`, `right`, `tie` or `bad`; CannotVote if it is not about what is there.

    Sent twice it is kept once: the first counts.
    """
    if choice not in CHOICES:
        raise CannotVote(f"A vote is one of {', '.join(CHOICES)}.")
    row = row_at(sides, comparison.by, place)
    pair = pair_of(comparison, row, voter) if row is not None else None
    if pair is None or pair.token != token:
        raise CannotVote("These answers have changed since you saw them; nothing was kept.")
    if choice in (LEFT, RIGHT):
        chosen = pair.left if choice == LEFT else pair.right
        choice = VoteChoice.A if chosen == pair.a else VoteChoice.B
    a_cell, b_cell = pair.row.cells[pair.a], pair.row.cells[pair.b]
    assert a_cell is not None and b_cell is not None
    try:
        with transaction.atomic():
            return Vote.objects.create(
                comparison=comparison,
                key=pair.row.key,
                place=str(place),
                a=pair.a,
                b=pair.b,
                a_response_id=a_cell.request_id,
                b_response_id=b_cell.request_id,
                left_is_a=pair.left_is_a,
                choice=choice,
                voter=voter,
                voter_name=current_actor().words[:200],
            )
    except IntegrityError:
        held = Vote.objects.filter(
            comparison=comparison, voter=voter, key=pair.row.key, removed_at__isnull=True
        ).first()
        if held is None:
            raise
        return held


def undo_vote(*, comparison: Comparison, voter: Any) -> Vote | None:
    """Take a person's last vote back and return it; None if they have none."""
    with transaction.atomic():
        votes = Vote.objects.select_for_update(no_key=True, of=("self",))
        last = (
            votes.filter(comparison=comparison, voter=voter, removed_at__isnull=True)
            .order_by("-pk")
            .first()
        )
        if last is not None:
            last.removed_at = timezone.now()
            last.save(update_fields=["removed_at"])
    return last


def read_standing(*, comparison: Comparison) -> Standing:
    """Return what all votes say so far."""
    votes = Vote.objects.filter(comparison=comparison, removed_at__isnull=True)
    counted = votes.values_list("a", "b", "choice").annotate(Count("pk")).order_by()
    duels = count_duels(counted)
    voters = votes.values_list("voter_name").annotate(n=Count("pk")).order_by("-n", "voter_name")
    return Standing(
        votes=sum(duel.votes for (a, b), duel in duels.items() if a < b),
        duels=duels,
        ranks=rank_sides(duels, len(comparison.sides)),
        voters=list(voters),
    )


def _digest(row: Row, number: int) -> str:
    cell = row.cells[number]
    return cell.digest if cell is not None else ""


def _draw(*parts: str) -> int:
    """Return a number that looks drawn, the same whenever it is asked for."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8])
