"""What a data folder makes once and keeps, readable by its owner alone: its key and its id."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def load_secret_key(path: Path) -> str:
    """Return the key kept at `path`, making it (mode 0600) on first use.

    A key that differed between processes would make django-q2 throw messages away.
    """
    return _made_once(path, lambda: secrets.token_urlsafe(48))


def load_instance_id(path: Path) -> str:
    """Return the id of the data folder kept at `path`, making it (mode 0600) on first use."""
    return _made_once(path, lambda: secrets.token_hex(16))


def _made_once(path: Path, make: Callable[[], str]) -> str:
    """Return the text kept at `path`, or what `make` returns, kept there from now on.

    Several processes may start at once: the file is linked into place whole, so whoever comes
    second reads the first one's text.
    """
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(make())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # Another process was first; its text counts.
    finally:
        draft.unlink()
    return path.read_text().strip()
