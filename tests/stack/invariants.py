"""What must hold of every batch that has ended, seen through the API and in the tables."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.stack.lines import expected_text
from tests.stack.processes import tree

if TYPE_CHECKING:
    from tests.stack.product import Stack

_USAGE = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")


@dataclass
class Results:
    """The lines of the two result files of a batch, by custom_id."""

    state: str
    output: dict[str, dict[str, Any]]
    errors: dict[str, dict[str, Any]]

    def text(self, custom_id: str) -> str:
        """Return the text of a chat answer."""
        body = self.output[custom_id]["response"]["body"]
        content: str = body["choices"][0]["message"]["content"]
        return content

    def error_code(self, custom_id: str) -> str:
        code: str = self.errors[custom_id]["error"]["code"]
        return code


def check_finished(
    stack: Stack, batch_id: str, lines: Sequence[dict[str, Any]], *, answers: bool = True
) -> Results:
    """Check an ended batch of `lines` against every invariant; return its result lines.

    Each custom_id stands exactly once over output and error file; each file is in input order
    and as long as it says; counters, usage and rows agree; answers belong to their prompts
    (`answers` off: with an engine that is no stub, nobody knows them beforehand).
    """
    batch = stack.client.batches.retrieve(batch_id)
    assert batch.request_counts is not None
    output = _file_lines(stack, batch.output_file_id)
    errors = _file_lines(stack, batch.error_file_id)
    wanted = [line["custom_id"] for line in lines]
    got = [line["custom_id"] for line in output] + [line["custom_id"] for line in errors]
    assert len(set(got)) == len(got), "a custom_id stands twice"
    assert set(got) == set(wanted), f"missing or foreign: {set(got) ^ set(wanted)}"
    position = {custom_id: index for index, custom_id in enumerate(wanted)}
    for found in (output, errors):
        order = [position[line["custom_id"]] for line in found]
        assert order == sorted(order), "not in input order"
    ids = [line["id"] for line in (*output, *errors)]
    assert len(set(ids)) == len(ids), "a line's id stands twice"

    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (
        len(wanted),
        len(output),
        len(errors),
    ), f"{counts} with {len(output)} answers and {len(errors)} errors"
    assert all(line["error"] is None for line in output), "an error in the output file"
    assert all(line["error"] for line in errors), "a line without error in the error file"
    assert _usage_of(batch) == _sum_usage(output), "usage is not the sum of the lines"
    _check_rows(stack, batch_id)
    for line in output if answers else ():
        prompt = _prompt(lines[position[line["custom_id"]]])
        answer = line["response"]["body"].get("choices")
        if prompt is not None and answer and "message" in answer[0]:
            content = answer[0]["message"]["content"] or ""
            assert content.startswith(expected_text(prompt)), f"answer to another: {line}"
    return Results(
        state=batch.status,
        output={line["custom_id"]: line for line in output},
        errors={line["custom_id"]: line for line in errors},
    )


def check_nobody_left(stack: Stack) -> None:
    """Check that nothing of the product lives but its database."""
    left = [p for p in stack.processes() if not p.role.startswith("postgres")]
    assert not left, f"left over:\n{tree(left)}"


def _file_lines(stack: Stack, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    request = urllib.request.Request(
        f"{stack.url}/v1/files/{file_id}/content",
        headers={"Authorization": f"Bearer {stack.key}"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        content = response.read()
        length = response.headers["Content-Length"]
    assert length is None or int(length) == len(content), "Content-Length is wrong"
    size = stack.client.files.retrieve(file_id).bytes
    assert size == len(content), f"{file_id} says {size} bytes and has {len(content)}"
    assert content.endswith(b"\n"), "the last line is cut"
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def _usage_of(batch: Any) -> tuple[int, ...]:
    usage = batch.usage
    if usage is None:
        return (0, 0, 0, 0)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    return (
        usage.input_tokens,
        usage.input_tokens_details.cached_tokens,
        usage.output_tokens,
        usage.output_tokens_details.reasoning_tokens,
    )


def _sum_usage(output: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    sums = [0, 0, 0, 0]
    for line in output:
        usage = line["response"]["body"].get("usage") or {}
        inputs = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
        outputs = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
        found = (
            usage.get("prompt_tokens") or usage.get("input_tokens"),
            inputs.get("cached_tokens"),
            usage.get("completion_tokens") or usage.get("output_tokens"),
            outputs.get("reasoning_tokens"),
        )
        sums = [total + (value or 0) for total, value in zip(sums, found, strict=True)]
    return tuple(sums)


def _check_rows(stack: Stack, batch_id: str) -> None:
    """Check the tables: rows against counters, `seq` without gaps, the chain of events."""
    columns = ", ".join(f"b.{name}" for name in _USAGE)
    sums = ", ".join(f"coalesce(sum(a.{name}), 0)" for name in _USAGE)
    row = stack.sql(
        f"SELECT b.state, b.total, b.completed, b.failed, b.last_seq, {columns}, b.id "
        "FROM jobs_batch b WHERE b.public_id = %s",
        batch_id,
    )[0]
    rows = stack.sql(
        "SELECT count(*) FILTER (WHERE a.ok), count(*) FILTER (WHERE NOT a.ok), "
        f"count(DISTINCT a.seq), max(a.seq), {sums} FROM jobs_batchresponse a "
        "WHERE a.batch_id = %s",
        row[-1],
    )[0]
    assert row[2:4] == rows[0:2], "counters are not the rows"
    assert row[1] == rows[0] + rows[1] or row[0] == "failed", "requests without a response"
    assert rows[2] == (rows[3] or 0) == row[4], "seq has gaps or repeats"
    assert row[5:9] == rows[4:8], "token sums are not the rows'"
    for table in ("jobs_chunk", "jobs_suspect"):
        left = stack.sql(f"SELECT 1 FROM {table} WHERE batch_id = %s", row[-1])
        assert not left, f"{len(left)} rows left in {table}"
    events = stack.sql(
        "SELECT old_state, new_state FROM jobs_batchevent "
        "WHERE batch_id = %s AND kind = 'moved' ORDER BY id",
        row[-1],
    )
    chain = [""] + [new for _, new in events]
    assert [old for old, _ in events] == chain[:-1], f"a broken chain of events: {events}"
    assert chain[-1] == row[0], f"the last event is not the state {row[0]}: {events}"
    assert len(set(chain)) == len(chain), f"a state was entered twice: {events}"


def _prompt(line: dict[str, Any]) -> str | None:
    messages = line["body"].get("messages")
    content = messages[-1].get("content") if messages and len(messages) == 1 else None
    return content if isinstance(content, str) else None
