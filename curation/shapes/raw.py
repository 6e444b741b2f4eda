"""All that is known of an example: bodies to the byte, what was said of it, its origin."""

from __future__ import annotations

from curation.examples import Example
from curation.shapes.shape import Shape, encode_line


def raw_row(example: Example) -> bytes:
    """Return the line of a batch's input joined with that of its output, and the gold star."""
    gold = {
        "id": example.id,
        "quality_score": example.quality_score,
        "tags": list(example.tags),
        "notes": example.notes,
        "edited_answer": example.edited_answer,
        "prompt_sha256": example.prompt_sha256,
        "provenance": example.provenance,
    }
    head = {"batch_id": example.batch_id, "custom_id": example.custom_id, "model": example.model}
    return b'%b,"request":%b,"response":%b,"gold":%b}\n' % (
        encode_line(head).rstrip(b"\n")[:-1],
        _one_line(example.request_body),
        _one_line(example.response_body),
        encode_line(gold).rstrip(b"\n"),
    )


def _one_line(body: bytes) -> bytes:
    # Between the tokens of JSON only: inside a string line breaks are escaped.
    return body.replace(b"\r", b" ").replace(b"\n", b" ")


RAW = Shape(
    name="raw",
    title="Raw",
    reader="your own code",
    extension="jsonl",
    media_type="application/jsonl",
    row=raw_row,
    encode=bytes,
)
