"""Chat requests of real text: pieces of the documents, of varied length, no two alike."""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.stack import chat_line
from tests.stack.product import ROOT

# Not those that hold the figures, which change with each run.
TEXTS = ("api", "architecture", "curation", "monitoring", "operating", "several-hosts", "webhooks")
TASKS = (
    "Say in one sentence what this text is about.",
    "Write a title for this text.",
    "Which question does this text answer?",
    "Put this into simpler words.",
    "Name the three most important points of this text.",
    "Explain this to somebody who has never seen it.",
)
WORDS_MIN, WORDS_MAX = 12, 200


def chat_lines(
    count: int, *, model: str, seed: str, max_tokens: int, **body: Any
) -> Iterator[dict[str, Any]]:
    """Yield `count` greedy requests; another `seed` gives others, the same seed the same."""
    draw = random.Random(seed)
    seen: set[str] = set()
    while len(seen) < count:
        # As many short ones as long ones: prompts are not spread evenly over their lengths.
        length = round(WORDS_MIN * (WORDS_MAX / WORDS_MIN) ** draw.random())
        prompt = f"{draw.choice(TASKS)}\n\n{passage(length, draw)}"
        if prompt in seen:
            continue
        seen.add(prompt)
        yield chat_line(
            f"{seed}-{len(seen)}",
            prompt,
            model=model,
            max_tokens=max_tokens,
            temperature=0,
            **body,
        )


def passage(words: int, draw: random.Random) -> str:
    """Return so many words of the documents, from anywhere."""
    text = _words()
    start = draw.randrange(len(text))
    # Round the end, so that a passage may be longer than what is left.
    return " ".join(text[(start + at) % len(text)] for at in range(words))


def write(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """Write a batch file; return its path."""
    with path.open("w") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


@functools.cache
def _words() -> list[str]:
    text = "\n".join((ROOT / "docs" / f"{name}.md").read_text() for name in TEXTS)
    prose = re.sub(r"```.*?```|^\|.*$|[#*`|]|\]\([^)]*\)|\[", " ", text, flags=re.S | re.M)
    return prose.split()
