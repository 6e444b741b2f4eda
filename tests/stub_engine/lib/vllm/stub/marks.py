"""Marks in a request's text that make the stub misbehave for that request.

::

    STUB:DIE[:all|server|core][:times]   the processes are killed (by SIGKILL), at most so often
    STUB:SLEEP:seconds                   the answer takes that long
    STUB:STATUS:code[:times]             refused with this status, the first so many times
    STUB:HANG                            never answered
    STUB:DROP                            the connection is closed without an answer
    STUB:HALF                            the connection is closed in mid-answer
    STUB:NUL, STUB:SURROGATE             the text holds NUL, half of a surrogate pair
    STUB:NOTJSON                         200 with a body that is not JSON
    STUB:BIGKEY                          the answer has a key of 9,000 characters
    STUB:PRETTY                          the answer's JSON is spread over lines
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARK = re.compile(rb"STUB:([A-Z]+)((?::[A-Za-z0-9.]+)*)")

NAMES = frozenset(
    ["DIE", "SLEEP", "STATUS", "HANG", "DROP", "HALF"]
    + ["NUL", "SURROGATE", "NOTJSON", "BIGKEY", "PRETTY"]
)


@dataclass(frozen=True, slots=True)
class Mark:
    name: str
    args: tuple[str, ...]

    def times(self, index: int) -> int | None:
        """Return the count that stands at `index`, None for always."""
        return int(self.args[index]) if len(self.args) > index else None


def read_marks(body: bytes) -> list[Mark]:
    """Return the marks in a request's body; ValueError for one that does not exist."""
    found = []
    for name, rest in _MARK.findall(body):
        args = tuple(part.strip(".") for part in rest.decode().split(":")[1:])
        if name.decode() not in NAMES:
            raise ValueError(f"There is no mark STUB:{name.decode()}")
        found.append(Mark(name.decode(), args))
    return found
