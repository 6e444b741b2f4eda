"""Counting tokens with a model's own tokenizer, without loading the model."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from tokenizers import Tokenizer

from jobs.models import ServedModel

# English has about four characters a token.
_CHARS_A_TOKEN = 4


def token_counter(model_name: str) -> tuple[Callable[[str], int], str]:
    """Return a counter for a served model, and in words what it counts with.

    Without a tokenizer on this host tokens are estimated by characters, and the words say so.
    """
    model = ServedModel.objects.filter(name=model_name).first() if model_name else None
    path = _find(model.source) if model is not None and model.source else None
    if path is None:
        why = f"no tokenizer of '{model_name}' is on this host" if model_name else "no model named"
        return _by_chars, f"≈ by characters, four a token: {why}"
    tokenizer = _load(str(path))
    return lambda text: _count(tokenizer, text), f"with the tokenizer of {model_name}"


def _by_chars(text: str) -> int:
    return -(-len(text) // _CHARS_A_TOKEN)


def _count(tokenizer: Tokenizer, text: str) -> int:
    # Half a character pair is no UTF-8, which the tokenizer wants.
    text = text.encode("utf-8", "replace").decode()
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def _find(source: str) -> Path | None:
    own = Path(source) / "tokenizer.json"
    if own.is_file():
        return own
    if source.startswith(("/", ".")):
        return None
    found = try_to_load_from_cache(source, "tokenizer.json")
    return Path(found) if isinstance(found, str) else None


@lru_cache(maxsize=4)
def _load(path: str) -> Tokenizer:
    return Tokenizer.from_file(path)
