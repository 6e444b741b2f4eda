"""What differs between two texts, word by word, in bounded time."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

# A word with the blank behind it; a character where words are not set apart by blanks.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+\s*|[\W_]\s*")
# Above so many steps (half a second) what is left is shown as changed whole.
STEPS_MAX = 400_000
# Between two passages that stand alone, more changed words than this are no edit.
_EDITS_MAX = 120


class Span(NamedTuple):
    """A passage: of both texts (`same`), of the first alone (`old`), of the second (`new`)."""

    kind: str
    text: str


def diff_words(old: str, new: str, *, steps: int = STEPS_MAX) -> list[Span]:
    """Return the passages in order; those not `new` make up `old`, those not `old` make up `new`.

    Words that stand once in each text and in the same order hold the texts together; what is
    between them is compared by Myers' algorithm, of `steps` steps in all at most.
    """
    if old == new:
        return [Span("same", old)] if old else []
    a, b = _WORD.findall(old), _WORD.findall(new)
    differ = _Differ(a, b, steps)
    differ.compare(0, len(a), 0, len(b))
    return _joined(differ.found)


def _joined(found: Sequence[tuple[str, str]]) -> list[Span]:
    """Put neighbours of a kind together; of a change, what was comes before what is."""
    spans: list[Span] = []
    same: list[str] = []
    olds: list[str] = []
    news: list[str] = []

    def close() -> None:
        for kind, words in (("same", same), ("old", olds), ("new", news)):
            if words:
                spans.append(Span(kind, "".join(words)))
                words.clear()

    for kind, word in found:
        if kind == "same":
            if olds or news:
                close()
            same.append(word)
        else:
            if same:
                close()
            (olds if kind == "old" else news).append(word)
    close()
    return spans


class _Differ:
    def __init__(self, a: list[str], b: list[str], steps: int) -> None:
        self.a, self.b, self.left = a, b, steps
        self.found: list[tuple[str, str]] = []

    def compare(self, a0: int, a1: int, b0: int, b1: int) -> None:
        a, b = self.a, self.b
        while a0 < a1 and b0 < b1 and a[a0] == b[b0]:
            self.found.append(("same", a[a0]))
            a0, b0 = a0 + 1, b0 + 1
        tail = 0
        while a1 > a0 and b1 > b0 and a[a1 - 1] == b[b1 - 1]:
            a1, b1, tail = a1 - 1, b1 - 1, tail + 1
        if a0 < a1 and b0 < b1:
            self._middle(a0, a1, b0, b1)
        else:
            self._changed(a0, a1, b0, b1)
        self.found += [("same", word) for word in a[a1 : a1 + tail]]

    def _middle(self, a0: int, a1: int, b0: int, b1: int) -> None:
        anchors = self._anchors(a0, a1, b0, b1)
        if not anchors:
            self._myers(a0, a1, b0, b1)
            return
        for at, bt in anchors:
            # No deeper: between anchors lies what has none, or what became unique there.
            self._between(a0, at, b0, bt)
            self.found.append(("same", self.a[at]))
            a0, b0 = at + 1, bt + 1
        self._between(a0, a1, b0, b1)

    def _between(self, a0: int, a1: int, b0: int, b1: int) -> None:
        if a0 < a1 and b0 < b1:
            self._myers(a0, a1, b0, b1)
        else:
            self._changed(a0, a1, b0, b1)

    def _anchors(self, a0: int, a1: int, b0: int, b1: int) -> list[tuple[int, int]]:
        in_a, in_b = Counter(self.a[a0:a1]), Counter(self.b[b0:b1])
        place = {
            word: at
            for at, word in enumerate(self.b[b0:b1], b0)
            if in_b[word] == 1 and in_a[word] == 1
        }
        pairs = [(at, place[word]) for at, word in enumerate(self.a[a0:a1], a0) if word in place]
        # The longest run that rises in both.
        ends: list[int] = []
        last: list[int] = []
        before = [-1] * len(pairs)
        for number, (_, bt) in enumerate(pairs):
            slot = bisect_left(ends, bt)
            before[number] = last[slot - 1] if slot else -1
            ends[slot:] = [bt, *ends[slot + 1 :]] if slot < len(ends) else [bt]
            last[slot:] = [number, *last[slot + 1 :]] if slot < len(last) else [number]
        chain: list[tuple[int, int]] = []
        number = last[-1] if last else -1
        while number >= 0:
            chain.append(pairs[number])
            number = before[number]
        return chain[::-1]

    def _changed(self, a0: int, a1: int, b0: int, b1: int) -> None:
        self.found += [("old", word) for word in self.a[a0:a1]]
        self.found += [("new", word) for word in self.b[b0:b1]]

    def _myers(self, a0: int, a1: int, b0: int, b1: int) -> None:
        """Find the fewest edits (Myers, 1986), or give up and show all of it as changed."""
        a, b = self.a[a0:a1], self.b[b0:b1]
        n, m = len(a), len(b)
        reach = {1: 0}
        trail: list[dict[int, int]] = []
        for edits in range(min(n + m, _EDITS_MAX) + 1):
            trail.append(dict(reach))
            self.left -= edits + 1
            if self.left < 0:
                break
            for k in range(-edits, edits + 1, 2):
                down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
                x = reach[k + 1] if down else reach[k - 1] + 1
                y = x - k
                while x < n and y < m and a[x] == b[y]:
                    x, y = x + 1, y + 1
                    self.left -= 1
                reach[k] = x
                if x >= n and y >= m:
                    self._trace(a, b, trail)
                    return
        self._changed(a0, a1, b0, b1)

    def _trace(self, a: list[str], b: list[str], trail: list[dict[int, int]]) -> None:
        x, y = len(a), len(b)
        steps: list[tuple[str, str]] = []
        for edits in range(len(trail) - 1, -1, -1):
            reach, k = trail[edits], x - y
            down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
            from_k = k + 1 if down else k - 1
            from_x = reach[from_k] if edits else 0
            from_y = from_x - from_k if edits else 0
            while x > from_x and y > from_y:
                x, y = x - 1, y - 1
                steps.append(("same", a[x]))
            if edits:
                if down:
                    y -= 1
                    steps.append(("new", b[y]))
                else:
                    x -= 1
                    steps.append(("old", a[x]))
        self.found += steps[::-1]
