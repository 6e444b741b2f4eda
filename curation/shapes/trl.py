"""TRL's conversational shapes: prompt and completion, preference with an explicit prompt, KTO.

Source: TRL's document of dataset formats and types. `tools` is JSON text, which every version
of `datasets` keeps as it is.
"""

from __future__ import annotations

import json
from typing import Any

from curation.conversations import Message
from curation.examples import Example
from curation.shapes.openai import plain_message
from curation.shapes.shape import answered, edit_pair, jsonl

# From this score on an answer is one to learn; below, one to avoid. An edited one is good.
KTO_GOOD_FROM = 7


def _message(message: Message) -> Message:
    found = plain_message(message)
    # Chat templates join texts; null would be printed by some as a word.
    return {**found, "content": "" if found.get("content") is None else found["content"]}


def _prompt(example: Example) -> dict[str, Any]:
    found: dict[str, Any] = {"prompt": [_message(message) for message in example.messages]}
    if example.tools:
        found["tools"] = json.dumps(example.tools, ensure_ascii=False, sort_keys=True)
    return found


def sft_row(example: Example) -> dict[str, Any]:
    return {**_prompt(example), "completion": [_message(answered(example.answer))]}


def preference_row(example: Example) -> dict[str, Any]:
    chosen, rejected = edit_pair(example)
    return {**_prompt(example), "chosen": [_message(chosen)], "rejected": [_message(rejected)]}


def kto_row(example: Example) -> dict[str, Any]:
    label = example.is_edited or example.quality_score >= KTO_GOOD_FROM
    return {**sft_row(example), "label": label}


TRL_SFT = jsonl("trl-sft", "TRL SFT", "TRL's SFTTrainer", sft_row)
TRL_PREFERENCE = jsonl(
    "trl-preference",
    "TRL preference",
    "TRL's DPOTrainer and RewardTrainer",
    preference_row,
    needs_edit=True,
)
TRL_KTO = jsonl("trl-kto", "TRL KTO", "TRL's KTOTrainer", kto_row)
