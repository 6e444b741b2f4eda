"""The secret key, generated once and kept in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def load_secret_key(path: Path) -> str:
    """Return the key kept at `path`, making it (mode 0600) on first use.

    Several processes may start at once: the file is linked into place whole, so whoever comes
    second reads the first one's key. A key that differed between them would make django-q2
    throw messages away.
    """
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(48))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # Another process was first; its key counts.
    finally:
        draft.unlink()
    return path.read_text().strip()
