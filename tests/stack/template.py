"""What every stack begins with, made once: the tables, and the collected static files.

Kept in the temporary folder under a digest of all that goes into them, so that a change makes them
anew; both are copied into a stack before it starts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from vbatch_site.embedded_db import ensure_db
from vbatch_site.embedded_db.dump import dump_db, restore_db

ROOT = Path(__file__).resolve().parents[2]


def make_tables() -> None:
    """Make the product's tables: in a new database of its own, from the template.

    The template is made where there is none.
    """
    template = _place("tables", _migrations())
    is_new = not connection.introspection.table_names()
    is_own = not os.environ.get("DATABASE_URL")
    url = ensure_db(settings.DATA_DIR) if is_own else ""
    connection.close()
    if is_own and is_new and template.exists():
        restore_db(url, template)
        return
    call_command("migrate", verbosity=0, interactive=False)
    call_command("createcachetable", verbosity=0)
    if is_own and is_new:
        draft = template.with_name(f"{template.name}.{os.getpid()}")
        dump_db(url, draft)
        draft.rename(template)


def lay_static(target: Path) -> None:
    """Lay the collected files there, if they have been kept; the product sees whether they fit."""
    kept = _place("static", _static())
    if kept.is_dir() and not target.exists():
        # Links cost nothing; whoever collects anew removes them and writes files of its own.
        shutil.copytree(kept, target, copy_function=os.link)


def keep_static(source: Path) -> None:
    """Keep the files that a product has collected, for the stacks that come."""
    kept = _place("static", _static())
    if kept.exists() or not (source / ".collected").is_file():
        return
    draft = Path(tempfile.mkdtemp(prefix=f"{kept.name}.", dir=kept.parent))
    shutil.copytree(source, draft, dirs_exist_ok=True)
    try:
        draft.rename(kept)
    except OSError:
        # Another test was quicker.
        shutil.rmtree(draft)


def _place(kind: str, digest: str) -> Path:
    return Path(tempfile.gettempdir()) / f"vbatch-stack-{os.getuid()}-{kind}-{digest}"


@cache
def _migrations() -> str:
    own = ROOT.glob("*/migrations/*.py")
    return _digest([*own, ROOT / "requirements.txt", ROOT / "vbatch_site" / "settings.py"])


@cache
def _static() -> str:
    own = (path for path in (ROOT / "static").rglob("*") if path.is_file())
    return _digest([*own, ROOT / "requirements.txt"])


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256(str(ROOT).encode())
    for path in sorted(paths):
        digest.update(f"{path} {path.stat().st_mtime_ns} ".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
