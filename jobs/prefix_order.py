"""The order in which the lines of a batch run, so that those that begin alike follow each other."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from zlib import crc32

# Up to where the beginnings of two prompts are compared, in bytes: finely where most prefixes
# end, coarsely beyond. Less than the first step is not worth moving a line for.
STEPS = (
    *range(128, 512, 128),
    *range(512, 4_096, 256),
    *range(4_096, 12_288, 1_024),
    *range(12_288, 65_537, 8_874),
)
_WEIGHTS = tuple(after - before for before, after in zip((0, *STEPS), STEPS, strict=False))
_SPANS = tuple(slice(before, after) for before, after in zip((0, *STEPS), STEPS, strict=False))
# File order stays where less than this share of what the engine has to read is spared.
LEAST_GAIN = 0.01


class PrefixOrder:
    """Takes the prompts of a file in turn, and tells the best order in the end.

    Kept of each prompt is one digest of four bytes for each step of its beginning, 32 at most:
    a thirty-second part of the text. Two that differ and have one digest stand together without
    need, which costs nothing.
    """

    def __init__(self) -> None:
        self._digests = array("I")
        # Where each line's digests begin, and the end of the last.
        self._starts = array("Q", [0])

    def add(self, prompt: str, *, seed: int = 0) -> None:
        """Take the next line; `seed` is a digest of what the engine reads before its prompt."""
        text = prompt.encode("utf-8", "replace")
        steps = bisect_right(STEPS, len(text))
        if steps:
            digest, append = seed, self._digests.append
            for span in _SPANS[:steps]:
                digest = crc32(text[span], digest)
                append(digest)
        self._starts.append(len(self._digests))

    def finish(self) -> array[int] | None:
        """Return the positions in the order to run in; None where that of the file is as good.

        Lines that share a beginning stand together, the longest shared ones closest; groups, and
        the lines of each, come by their first appearance in the file.
        """
        order = self._grouped()
        file_order = array("I", range(len(order)))
        if order == file_order:
            return None
        spared = self._shared(order) - self._shared(file_order)
        return order if spared >= LEAST_GAIN * self._read() else None

    def _grouped(self) -> array[int]:
        order = array("I")
        starts, digests = self._starts, self._digests
        # Groups yet to be split, the first one last, each with the steps that all of it share.
        waiting: list[tuple[Sequence[int], int]] = [(range(len(starts) - 1), 0)]
        while waiting:
            lines, depth = waiting.pop()
            if len(lines) == 1:
                order.append(lines[0])
                continue
            groups: dict[int, list[int]] = {}
            for line in lines:
                at = starts[line] + depth
                # A line that ends here is alone with itself: no digest is negative.
                key = digests[at] if at < starts[line + 1] else -1 - line
                groups.setdefault(key, []).append(line)
            if len(groups) == len(lines):
                order.extend(lines)
                continue
            for key, group in reversed(groups.items()):
                waiting.append((group, depth + 1 if key >= 0 else depth))
        return order

    def _shared(self, order: array[int]) -> int:
        """Return how many bytes each line shares with the one before it, summed up."""
        shared = 0
        starts, digests = self._starts, self._digests
        before: array[int] = array("I")
        for line in order:
            own = digests[starts[line] : starts[line + 1]]
            for weight, one, other in zip(_WEIGHTS, own, before, strict=False):
                if one != other:
                    break
                shared += weight
            before = own
        return shared

    def _read(self) -> int:
        """Return how many bytes of all lines lie in steps."""
        return sum(STEPS[end - start - 1] for start, end in pairwise(self._starts) if end > start)
