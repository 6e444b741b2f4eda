"""Each shape in its own reader: Hugging Face `datasets`, TRL, and a model's own chat template."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from datasets import load_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from curation.conversations import text_of
from curation.shapes import SHAPES, Tally
from curation.shapes.parquet import write_parquet
from curation.shapes.table import plain_cell
from tests.curation.starred import call, example, examples, with_a_tool
from tests.engine.conftest import model_folder

pytestmark = pytest.mark.long

ODD = '"quoted"\n\ttabbed \u2028 عربي \U0001f642 =1+1 </s>'
LONG = "é\n" * 50_000
FOUND = [
    example(),
    example(edited_answer=ODD),
    example(ODD, answer=LONG, quality_score=2),
    example({"role": "system", "content": "Be kind."}, {"role": "user", "content": "why?"}),
    with_a_tool(edited_answer="Yes, it is warm."),
]


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def trl():
    """Return TRL's reading of data, without what its import does to the environment.

    It silences vLLM in this process and in each engine that is started from it later.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_LOGGING_LEVEL", "INFO")
        from trl import data_utils
    return data_utils


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    folder = model_folder("smollm2-135m-instruct")
    return PreTrainedTokenizerFast.from_pretrained(folder)


def load(name: str, folder: Path, found=FOUND):
    shape = SHAPES[name]
    path = folder / f"rows.{shape.extension}"
    tally = Tally()
    path.write_bytes(b"".join(shape.write(found, tally)))
    kind = {"jsonl": "json", "csv": "csv"}[shape.extension]
    cache = str(folder / "cache")
    return load_dataset(kind, data_files=str(path), split="train", cache_dir=cache), tally


def plain(messages: list[dict]) -> list[dict]:
    """Leave out what a column has for other rows only."""
    return [{key: value for key, value in one.items() if value is not None} for one in messages]


def test_trl_takes_prompts_with_completions(tmp_path, tokenizer, trl):
    rows, tally = load("trl-sft", tmp_path)
    assert len(rows) == tally.rows == len(FOUND)
    for row, one in zip(rows, FOUND, strict=True):
        assert trl.is_conversational(row)
        assert row["completion"][0]["content"] == one.answer_text
        rendered = trl.apply_chat_template(
            {"prompt": plain(row["prompt"]), "completion": plain(row["completion"])}, tokenizer
        )
        assert one.answer_text.strip() in rendered["completion"]
    assert json.loads(rows[4]["tools"]) == FOUND[4].tools
    assert plain(rows[4]["prompt"])[1]["tool_calls"] == [call()]


def test_trl_takes_pairs_and_labels(tmp_path, tokenizer, trl):
    (tmp_path / "pairs").mkdir()
    rows, tally = load("trl-preference", tmp_path / "pairs")
    assert (tally.rows, len(tally.rejects)) == (2, 3)
    row = rows[0]
    assert trl.is_conversational(row) and trl.maybe_extract_prompt(dict(row)) == row
    rendered = trl.apply_chat_template({key: row[key] for key in row if key != "tools"}, tokenizer)
    assert rendered["chosen"] != rendered["rejected"]
    assert row["chosen"][0]["content"] == ODD
    assert trl.unpair_preference_dataset(rows)["label"] == [True, True, False, False]
    rows, _ = load("trl-kto", tmp_path)
    assert rows["label"] == [True, True, False, True, True]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("openai-sft", {"messages", "tools"}),
        ("openai-dpo", {"input", "preferred_output", "non_preferred_output"}),
        ("sharegpt", {"conversations", "system", "tools"}),
        ("alpaca", {"instruction", "input", "output", "system"}),
        ("raw", {"batch_id", "custom_id", "model", "request", "response", "gold"}),
    ],
)
def test_datasets_loads_every_line(tmp_path, name, columns):
    rows, tally = load(name, tmp_path)
    assert len(rows) == tally.rows == len(FOUND) - len(tally.rejects) > 1
    assert set(rows.column_names) == columns


def test_datasets_loads_the_table(tmp_path):
    rows, _ = load("csv", tmp_path)
    assert [plain_cell(one) for one in rows["answer"]] == [one.answer_text for one in FOUND]


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(found=st.lists(examples(), min_size=1, max_size=4))
def test_a_parquet_folder_gives_back_every_message(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parquet")
    half = len(found) // 2
    splits = {"train": found[half:], "test": found[:half]}
    tallies = write_parquet(folder / "set", splits=splits, name="A set", about="For a test.")
    loaded = load_dataset(str(folder / "set"), cache_dir=str(folder / "cache"))
    for split, wanted in splits.items():
        assert tallies[split].rows == len(wanted)
        if not wanted:
            assert split not in loaded
            continue
        for row, one in zip(loaded[split], wanted, strict=True):
            given_ = [*one.messages, one.answer]
            assert [m["content"] for m in row["messages"]] == [text_of(m) for m in given_]
            calls = [json.loads(m["tool_calls"] or "[]") for m in row["messages"]]
            assert calls == [m.get("tool_calls") or [] for m in given_]
            assert row["completion"] == [row["messages"][-1]]
            assert row["original_completion"][0]["content"] == text_of(one.original)
            assert row["tags"] == list(one.tags) and row["notes"] == one.notes
            assert json.loads(row["tools"] or "[]") == one.tools
            assert json.loads(row["provenance"]) == one.provenance


def test_the_tokenizer_of_the_model_counts_without_the_model(tokenizer):
    own = Tokenizer.from_file(str(model_folder("smollm2-135m-instruct") / "tokenizer.json"))
    assert own.encode(ODD).ids == tokenizer(ODD)["input_ids"]
