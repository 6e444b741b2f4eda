"""The shapes in which examples leave, by name."""

from __future__ import annotations

from curation.shapes.in_context import ICL_MESSAGES, ICL_TEXT
from curation.shapes.llama_factory import ALPACA, SHAREGPT
from curation.shapes.openai import OPENAI_DPO, OPENAI_SFT
from curation.shapes.raw import RAW
from curation.shapes.shape import Reject, Shape, Tally
from curation.shapes.table import CSV
from curation.shapes.trl import TRL_KTO, TRL_PREFERENCE, TRL_SFT

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        OPENAI_SFT,
        OPENAI_DPO,
        TRL_SFT,
        TRL_PREFERENCE,
        TRL_KTO,
        SHAREGPT,
        ALPACA,
        ICL_MESSAGES,
        ICL_TEXT,
        RAW,
        CSV,
    )
}
ALIASES = {"icl": "icl-messages", "finetuning": "openai-sft"}

__all__ = ["ALIASES", "SHAPES", "Reject", "Shape", "Tally", "find_shape"]


def find_shape(name: str) -> Shape | None:
    """Return the shape of a name or an alias, None if there is none."""
    return SHAPES.get(ALIASES.get(name, name))
