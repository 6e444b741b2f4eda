"""The account that runs the server: ours, or another one when we are root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import Any

from vbatch_site.embedded_db.errors import EmbeddedDbError


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int

    def child_options(self) -> dict[str, Any]:
        """Keywords for `subprocess` that run a child as this account, tied to nothing of ours.

        Own session (no signal of our terminal reaches it), no descriptors of ours, and a bare
        environment: PGPORT, LD_PRELOAD or a locale of the caller must not shape the server.
        """
        options: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "cwd": "/",
            "env": {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            "start_new_session": True,
            "umask": 0o077,
        }
        if os.geteuid() == 0:
            # No supplementary groups: root's would be kept otherwise.
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options


def account_of(uid: int) -> Account:
    """Return the account with this number; raise `EmbeddedDbError` if it has no name."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedDbError(
            f"User id {uid} has no name in /etc/passwd, and PostgreSQL needs one. Add an entry, "
            "or set DATABASE_URL to a PostgreSQL server of your own."
        ) from None
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def choose_account(*, owner_uid: int | None) -> Account:
    """Return the account that runs the server whose data belong to `owner_uid` (None: no data yet).

    Not root: ourselves. Root: the owner of the data, else VBATCH_PG_USER, else `postgres`, else
    `nobody`; PostgreSQL refuses to run as root.
    """
    if os.geteuid() != 0:
        return account_of(os.geteuid())
    wanted = os.environ.get("VBATCH_PG_USER", "")
    if owner_uid is not None:
        owner = account_of(owner_uid)
        if wanted and wanted != owner.name:
            raise EmbeddedDbError(
                f"VBATCH_PG_USER is {wanted}, but the database belongs to {owner.name}. "
                f"Set VBATCH_PG_USER={owner.name}, or leave it out."
            )
        _check_not_root(owner)
        return owner
    for name in [wanted] if wanted else ["postgres", "nobody"]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
        _check_not_root(account)
        return account
    if wanted:
        raise EmbeddedDbError(f"VBATCH_PG_USER is {wanted}, but no such account exists.")
    raise EmbeddedDbError(
        "PostgreSQL does not run as root, and neither `postgres` nor `nobody` exists here. Set "
        "VBATCH_PG_USER to an account that may run it, or do not run vbatch as root."
    )


def _check_not_root(account: Account) -> None:
    if account.uid == 0:
        raise EmbeddedDbError(
            "PostgreSQL does not run as root. Give its data to another account (chown -R), or set "
            "VBATCH_PG_USER to one."
        )
