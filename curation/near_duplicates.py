"""Texts that are alike: found by MinHash signatures, and compared word by word.

Two texts are alike when the Jaccard index of their word triples reaches a threshold. Signatures
of 128 hashes in 32 bands of four find a pair of likeness 0.8 all but certainly; what they
propose is then compared exactly, so that nothing is called alike that is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from rensa import RMinHash

THRESHOLD = 0.8
_HASHES = 128
_BANDS = 32
_ROWS = _HASHES // _BANDS
# Of a text no more is looked at.
CHARS = 20_000
_WORDS = 3
# Shorter texts have too few words to be told apart by them.
_FEW_WORDS = 12
# Of a band's texts so many that are unlike each other are compared with a new one.
_COMPARED = 16
_TICK_TEXTS = 10_000


def shingles(text: str) -> frozenset[str]:
    """Return the triples of words of a text; of a short one its pieces of five characters."""
    words = text[:CHARS].casefold().split()
    if len(words) < _FEW_WORDS:
        short = f" {' '.join(words)} "
        return frozenset(short[at : at + 5] for at in range(max(1, len(short) - 4)))
    return frozenset(" ".join(words[at : at + _WORDS]) for at in range(len(words) - _WORDS + 1))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard index: 1 for the same pieces, 0 for none in common."""
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def find_clusters(
    texts: Sequence[str],
    *,
    threshold: float = THRESHOLD,
    tick: Callable[[], None] = lambda: None,
) -> list[int]:
    """Return for each text the index of the first one that it is alike to, directly or by way
    of others; its own index where there is none before it.

    Takes time in proportion to the number of texts, unless very many are nearly alike. `tick` is
    called every few seconds.
    """
    signatures = []
    for index, text in enumerate(texts):
        signatures.append(_signature(text))
        if index % _TICK_TEXTS == 0:
            tick()
    parent = list(range(len(texts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for band in range(_BANDS):
        tick()
        buckets: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, signature in enumerate(signatures):
            bucket = buckets[signature[band * _ROWS : (band + 1) * _ROWS]]
            for other in bucket:
                first, second = sorted((root(index), root(other)))
                if first == second:
                    break
                if texts[index] == texts[other] or _are_alike(texts, index, other, threshold):
                    parent[second] = first
                    break
            else:
                if len(bucket) < _COMPARED:
                    bucket.append(index)
    return [root(index) for index in range(len(texts))]


def _are_alike(texts: Sequence[str], one: int, other: int, threshold: float) -> bool:
    return likeness(shingles(texts[one]), shingles(texts[other])) >= threshold


def _signature(text: str) -> tuple[int, ...]:
    made = RMinHash(num_perm=_HASHES, seed=42)
    made.update(list(shingles(text)))
    return tuple(made.digest())
