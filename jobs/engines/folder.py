"""The folder of a running engine: its socket, and whatever else it leaves lying about."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from django.conf import settings

# A UNIX socket's path may have little more than 100 characters, and vLLM adds a name of 36.
PATH_MAX = 60


def fresh_folder(name: str) -> Path:
    """Return an empty folder of mode 0700 for the engine `name`, the same one each time.

    An engine that is killed cleans up nothing, so what the last one left goes now. Raises
    OSError where the folder is not ours.
    """
    key = hashlib.sha256(f"{settings.DATA_DIR}:{name}".encode()).hexdigest()[:10]
    folder = Path(settings.RUN_DIR) / f"e{key}"
    if len(str(folder)) > PATH_MAX:
        folder = Path(tempfile.gettempdir()) / f"vbatch-{os.getuid()}-{key}"
    if folder.is_symlink() or (folder.exists() and folder.stat().st_uid != os.getuid()):
        raise OSError(f"{folder} belongs to somebody else. Remove it.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder
