"""Which weights an engine has loaded, told by their files or by their commit in the hub's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

# What a model is made of: its weights, how it reads and writes text, and its defaults.
_PARTS = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".gguf",
    ".model",
    ".json",
    ".jinja",
    ".txt",
    ".py",
)
_CONFIG_MAX = 1024 * 1024
_COMMIT = re.compile("[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")
# In arguments names stand beside values, as in `adapter=/models/adapter`, or inside JSON.
_SEPARATORS = re.compile(r"[\s=,{}\[\]\"']+")


def model_revision(source: str, engine_args: str) -> str:
    """Return what changes when the model at `source` does; empty where that cannot be told.

    Of a folder: a digest of its config.json and of the names, sizes and times of its files. Of a
    hub id: the commit in the cache of this host. What `engine_args` names, such as an adapter,
    counts with it.
    """
    try:
        words = shlex.split(engine_args)
        folder = Path(source).expanduser()
        revision = _of_path(folder) if folder.exists() else _of_hub(source, words)
        named = sorted(set(_named(words)))
    except (OSError, ValueError):
        return ""
    if not revision or not named:
        return revision
    told = "\0".join((revision, *named))
    return f"{revision[:40]}+{hashlib.sha256(told.encode()).hexdigest()[:40]}"


def _of_path(path: Path) -> str:
    digest = hashlib.sha256()
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in _PARTS and p.is_file())
        if not files:
            return ""
    for file in files:
        stat = file.stat()
        digest.update(b"%b\0%d\0" % (os.fsencode(file.name), stat.st_size))
        if file.name == "config.json" and stat.st_size <= _CONFIG_MAX:
            digest.update(file.read_bytes())
        else:
            digest.update(b"%d\0" % stat.st_mtime_ns)
    return f"files-{digest.hexdigest()[:40]}"


def _of_hub(source: str, words: Sequence[str]) -> str:
    """Return the commit: the one that is asked for, or that to which the cache points."""
    asked = _value(words, "--revision") or "main"
    if _COMMIT.fullmatch(asked):
        return asked
    if not _HUB_ID.fullmatch(source) or ".." in asked:
        return ""
    folder = f"models--{source.replace('/', '--')}"
    cache = Path(_value(words, "--download-dir") or _hub_cache()).expanduser()
    try:
        commit = (cache / folder / "refs" / asked).read_text().strip()
    except FileNotFoundError:
        return ""
    return commit if _COMMIT.fullmatch(commit) else ""


def _named(words: Sequence[str]) -> Iterator[str]:
    """Yield what tells the state of each file, folder or hub id that is named in arguments."""
    for word in words:
        for piece in _SEPARATORS.split(word):
            if not piece or piece.startswith("-"):
                continue
            path = Path(piece).expanduser()
            if "/" in piece and path.exists():
                yield _of_path(path)
            elif piece.count("/") == 1 and (commit := _of_hub(piece, ())):
                yield commit


def _value(words: Sequence[str], name: str) -> str:
    found = ""
    for index, word in enumerate(words):
        key, sign, value = word.replace("_", "-", 2).partition("=")
        if key == name:
            found = word.partition("=")[2] if sign else "".join(words[index + 1 : index + 2])
    return found


def _hub_cache() -> str:
    env = os.environ
    if cache := env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE"):
        return cache
    home = env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return f"{home}/hub"
