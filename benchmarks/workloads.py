"""The workloads that are shipped: so many requests of a kind, the same on every machine."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.prose import sentences, thing

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
# Requests of `shared-prefix` that begin alike.
SHARED_BY = 16
# Fields of a body that are no part of what is asked.
_NOT_ASKED = ("model", "cache_salt")

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Requests of one kind, any number of them; each is made from its number alone.

    The first requests of a larger run are those of a smaller one, except of `shared-prefix`.
    `version` moves with every change to what is asked, since runs of two versions cannot be
    compared. Answers are greedy; where speed is what is measured they are of one length.
    `checks` are what the answers are good for, as `quality.make_check` takes them.
    """

    name: str
    version: int
    title: str
    endpoint: str
    default_requests: int
    body: Callable[[random.Random, int, int], Body]
    checks: tuple[Mapping[str, Any], ...] = ()

    def lines(self, *, model: str, requests: int) -> Iterator[dict[str, Any]]:
        """Yield the lines of an input file for a model."""
        for number in range(requests):
            draw = random.Random(f"{self.name} {self.version} {number}")
            yield {
                "custom_id": f"{self.name}-{number}",
                "method": "POST",
                "url": self.endpoint,
                "body": {"model": model, **self.body(draw, number, requests)},
            }


def workload_hash(lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the SHA-256, in hex, of what the lines ask in their order.

    It is over the bodies less the model and what only tells repeats apart; the order of their
    fields does not count, nor do the lines' names.
    """
    digest = hashlib.sha256()
    for line in lines:
        asked = {name: value for name, value in line["body"].items() if name not in _NOT_ASKED}
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _chat(text: str, *, tokens: int, **more: Any) -> Body:
    return {
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": tokens,
        **more,
    }


def _fixed(text: str, *, tokens: int) -> Body:
    # Answers that end when they like make a change of the model look like one of speed.
    return _chat(text, tokens=tokens, ignore_eos=True)


def _numbered(number: int) -> str:
    # First, so that no two prompts share more than their chat template.
    return f"Request {number + 1}."


def _short_chat(draw: random.Random, number: int, _requests: int) -> Body:
    story = sentences(draw, draw.randint(10, 90))
    return _fixed(f"{_numbered(number)} {story} What do you think of the {thing(draw)}?", tokens=64)


def _long_prompt(draw: random.Random, number: int, _requests: int) -> Body:
    story = sentences(draw, draw.randint(1_000, 1_400))
    return _fixed(
        f"{_numbered(number)} Read this report.\n\n{story}\n\n"
        f"Say in one sentence what it tells of the {thing(draw)}.",
        tokens=16,
    )


def _shared_prefix(draw: random.Random, number: int, requests: int) -> Body:
    # Interleaved: neighbours in the file share nothing, as rows of a table with few documents.
    group = number % max(1, -(-requests // SHARED_BY))
    document = sentences(random.Random(f"shared-prefix document {group}"), 600)
    return _fixed(
        f"Document {group + 1}.\n\n{document}\n\n"
        f"{_numbered(number)} What does the document say of the {thing(draw)}?",
        tokens=32,
    )


def _long_generation(draw: random.Random, number: int, _requests: int) -> Body:
    return _fixed(
        f"{_numbered(number)} Write a long story of a {thing(draw)}, a {thing(draw)} and a "
        f"{thing(draw)}.",
        tokens=1_024,
    )


# Bounded throughout, so that an answer ends before it is cut.
TICKET: dict[str, Any] = {
    "type": "object",
    "properties": {
        "subject": {"type": "string", "enum": ["delivery", "payment", "quality", "other"]},
        "urgent": {"type": "boolean"},
        "rating": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
        "parts": {
            "type": "array",
            "items": {"type": "string", "enum": ["front", "back", "inside", "outside"]},
            "minItems": 1,
            "maxItems": 3,
        },
    },
    "required": ["subject", "urgent", "rating", "parts"],
    "additionalProperties": False,
}


def _structured_output(draw: random.Random, number: int, _requests: int) -> Body:
    story = sentences(draw, draw.randint(30, 80))
    return _chat(
        f"{_numbered(number)} Fill in the ticket for this complaint, as JSON.\n\n{story}",
        tokens=256,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "ticket", "schema": TICKET, "strict": True},
        },
    )


def _embeddings(draw: random.Random, number: int, _requests: int) -> Body:
    text = f"{_numbered(number)} {sentences(draw, draw.randint(20, 120))}"
    return {"input": text, "encoding_format": "float"}


SHIPPED: dict[str, Workload] = {
    one.name: one
    for one in (
        Workload(
            name="short-chat",
            version=1,
            title="Short chat: prompts of about 70 words, answers of 64 tokens",
            endpoint=CHAT,
            default_requests=512,
            body=_short_chat,
        ),
        Workload(
            name="long-prompt",
            version=1,
            title="Long prompt, short answer: about 1,200 words, answers of 16 tokens",
            endpoint=CHAT,
            default_requests=128,
            body=_long_prompt,
        ),
        Workload(
            name="shared-prefix",
            version=1,
            title="Shared prefix: 16 questions on each document of 600 words, answers of 32 tokens",
            endpoint=CHAT,
            default_requests=512,
            body=_shared_prefix,
        ),
        Workload(
            name="long-generation",
            version=1,
            title="Long generation: short prompts, answers of 1,024 tokens",
            endpoint=CHAT,
            default_requests=64,
            body=_long_generation,
        ),
        Workload(
            name="structured-output",
            version=1,
            title="Structured output: answers that follow a JSON schema",
            endpoint=CHAT,
            default_requests=256,
            body=_structured_output,
            checks=({"kind": "json_schema", "schema": TICKET},),
        ),
        Workload(
            name="embeddings",
            version=1,
            title="Embeddings: texts of about 80 words",
            endpoint=EMBEDDINGS,
            default_requests=1_024,
            body=_embeddings,
        ),
    )
}
