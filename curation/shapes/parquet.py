"""A folder that Hugging Face `datasets` loads: a Parquet file a split, and a data card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.conversations import Message, NotAnExample, text_of
from curation.examples import Example
from curation.shapes.shape import Tally, answered, reject

_MESSAGE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("name", pa.string()),
        # JSON: a column has one type, and the arguments of tools have any.
        ("tool_calls", pa.string()),
        ("tool_call_id", pa.string()),
        # JSON, where a message is not text alone.
        ("parts", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("batch_id", pa.string()),
        ("custom_id", pa.string()),
        ("model", pa.string()),
        ("messages", pa.list_(_MESSAGE)),
        ("prompt", pa.list_(_MESSAGE)),
        ("completion", pa.list_(_MESSAGE)),
        ("original_completion", pa.list_(_MESSAGE)),
        ("edited", pa.bool_()),
        ("tools", pa.string()),
        ("quality_score", pa.int8()),
        ("tags", pa.list_(pa.string())),
        ("notes", pa.string()),
        ("finish_reason", pa.string()),
        ("input_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("prompt_sha256", pa.string()),
        ("provenance", pa.string()),
    ]
)
# So many rows, or so many bytes of text, are in memory at a time.
ROWS_A_GROUP = 1_000
BYTES_A_GROUP = 32 * 2**20
# As `datasets` names the types above.
_FEATURES = {pa.string(): "string", pa.bool_(): "bool", pa.int8(): "int8", pa.int32(): "int32"}


def parquet_row(example: Example) -> dict[str, Any]:
    prompt = [_message(message) for message in example.messages]
    completion = _message(answered(example.answer))
    return {
        "id": example.id,
        "batch_id": example.batch_id,
        "custom_id": example.custom_id,
        "model": example.model,
        "messages": [*prompt, completion],
        "prompt": prompt,
        "completion": [completion],
        "original_completion": [_message(example.original)],
        "edited": example.is_edited,
        "tools": _json(example.tools) if example.tools else None,
        "quality_score": example.quality_score,
        "tags": list(example.tags),
        "notes": example.notes,
        "finish_reason": example.finish_reason,
        "input_tokens": example.input_tokens,
        "output_tokens": example.output_tokens,
        "prompt_sha256": example.prompt_sha256,
        "provenance": _json(example.provenance),
    }


def write_parquet(
    folder: Path, *, splits: Mapping[str, Iterable[Example]], name: str, about: str
) -> dict[str, Tally]:
    """Write `data/SPLIT-00000-of-00001.parquet` for each split, and README.md, the data card.

    Returns what became of the examples of each split. Memory holds one group of rows.
    """
    (folder / "data").mkdir(parents=True)
    tallies: dict[str, Tally] = {}
    sizes: dict[str, int] = {}
    for split, examples in splits.items():
        path = folder / _path(split)
        tallies[split] = Tally()
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for group in _groups(examples, tallies[split]):
                writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
        if tallies[split].rows:
            sizes[split] = path.stat().st_size
        else:
            path.unlink()  # The reader refuses a split of no rows.
    card = _card(name=name, about=about, tallies=tallies, sizes=sizes)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return tallies


def _groups(examples: Iterable[Example], tally: Tally) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for example in examples:
        try:
            row = parquet_row(example)
        except NotAnExample as error:
            tally.rejects.append(reject(example, error))
            continue
        tally.rows += 1
        group.append(row)
        size += len(example.request_body) + len(example.response_body)
        if len(group) >= ROWS_A_GROUP or size >= BYTES_A_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _path(split: str) -> str:
    return f"data/{split}-00000-of-00001.parquet"


def _message(message: Message) -> dict[str, str | None]:
    text = text_of(message)
    calls = message.get("tool_calls")
    return {
        "role": _plain(message["role"]),
        "content": _plain(text) if text is not None else None,
        "name": _plain(message.get("name")),
        "tool_calls": _json(calls) if calls else None,
        "tool_call_id": _plain(message.get("tool_call_id")),
        "parts": None if text is not None else _json(message.get("content")),
    }


def _plain(value: Any) -> str | None:
    # Half a character pair is valid JSON, and no UTF-8.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace").decode()


def _card(*, name: str, about: str, tallies: dict[str, Tally], sizes: dict[str, int]) -> str:
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in sizes:
        lines += [f"  - split: {split}", f"    path: {_path(split)}"]
    lines += ["dataset_info:", "  features:", *_features(SCHEMA, "  "), "  splits:"]
    for split, size in sizes.items():
        lines += [
            f"  - name: {split}",
            f"    num_bytes: {size}",
            f"    num_examples: {tallies[split].rows}",
        ]
    lines += [f"  download_size: {sum(sizes.values())}"]
    lines += [f"  dataset_size: {sum(sizes.values())}", "---", "", f"# {name}", "", about, ""]
    return "\n".join(lines)


def _features(fields: Iterable[pa.Field], indent: str) -> Iterator[str]:
    for one in fields:
        yield f"{indent}- name: {one.name}"
        if pa.types.is_list(one.type):
            inner = one.type.value_type
            if pa.types.is_struct(inner):
                yield f"{indent}  list:"
                yield from _features(list(inner), f"{indent}  ")
            else:
                yield f"{indent}  list: {_FEATURES[inner]}"
        else:
            yield f"{indent}  dtype: {_FEATURES[one.type]}"
