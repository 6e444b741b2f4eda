"""A PostgreSQL server of the project's own, out of a Python wheel, for those who bring none.

Nobody holds a handle on the server. Every entry point calls `ensure_db`, which costs a few
milliseconds while the server is up and starts it when it is not; it runs until `stop_db`.

Who can connect: the server listens on a UNIX socket only, in a folder of mode 0700, and asks the
kernel who is calling ("peer"). Two accounts are let in, as the database's superuser: the one
that runs the server, and root. No password exists, so none can leak.

No Django in here: the settings and the database backend call it before Django is up.
"""

from __future__ import annotations

from vbatch_site.embedded_db.errors import EmbeddedDbError
from vbatch_site.embedded_db.server import Status, delete_db, ensure_db, status, stop_db

__all__ = ["EmbeddedDbError", "Status", "delete_db", "ensure_db", "status", "stop_db"]
