"""Where the server of a data folder keeps its data, its log, its socket and its lock."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from vbatch_site.embedded_db.errors import EmbeddedDbError
from vbatch_site.embedded_db.waiting import Waiting

# Run as root, the data cannot lie in the data folder: the server's account may be unable to pass
# its parents, and their modes are not ours to loosen.
SYSTEM_FOLDER = Path("/var/lib/vbatch")
# Not TMPDIR: processes whose environments differ must agree. Not XDG_RUNTIME_DIR: it goes away
# when the user logs out.
SHORT_FOLDER = Path("/tmp")
RECORD = "postgres.json"
ROLE = "vbatch"
PORT = 5432
# The smallest room for a socket's path among the systems we run on (macOS), without the final NUL.
MAX_SOCKET_PATH_BYTES = 103


@dataclass(frozen=True)
class Place:
    """`home` holds everything; the socket too, unless its path were too long there."""

    data_dir: Path
    home: Path
    socket_dir: Path

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def log_dir(self) -> Path:
        return self.home / "log"

    @property
    def start_log(self) -> Path:
        return self.home / "start.log"

    @property
    def socket(self) -> Path:
        return self.socket_dir / f".s.PGSQL.{PORT}"

    def url(self, dbname: str) -> str:
        """Return the address in the form that libpq and dj-database-url both read."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{ROLE}@{host}:{PORT}/{quote(dbname, safe='')}"

    def socket_is_trusted(self) -> bool:
        """Say whether the socket's folder is there and nobody else's: /tmp is open to all."""
        if self.socket_dir.is_relative_to(self.home):
            return self.socket_dir.exists()
        owners = {path.stat().st_uid for path in (self.home, self.cluster) if path.exists()}
        return _is_private(self.socket_dir, owners=owners)


def find_place(data_dir: Path) -> tuple[Place, bool]:
    """Return the place of `data_dir`'s server, and whether it is on record; makes nothing.

    Raises `EmbeddedDbError` if the record names a database that is gone, or another folder's.
    """
    data_dir = data_dir.resolve()
    record = data_dir / RECORD
    try:
        kept = json.loads(record.read_text())
    except FileNotFoundError:
        inside = data_dir / "pg"
        as_root = os.geteuid() == 0 and not (inside / "cluster").exists()
        home = SYSTEM_FOLDER / _digest(data_dir) if as_root else inside
        return Place(data_dir=data_dir, home=home, socket_dir=_default_socket_dir(home)), False
    home = data_dir / kept["home"]
    if not home.is_relative_to(data_dir):
        _check_record(record, kept_data_dir=Path(kept["data_dir"]), home=home)
    return Place(data_dir=data_dir, home=home, socket_dir=home / kept["socket_dir"]), True


def _check_record(record: Path, *, kept_data_dir: Path, home: Path) -> None:
    other = kept_data_dir / RECORD
    if other.exists() and not other.samefile(record):
        raise EmbeddedDbError(
            f"{record.parent} is a copy of {kept_data_dir}, and both name the database in {home}. "
            f"Delete {record} to give the copy a new, empty database."
        )
    if not home.is_dir():
        raise EmbeddedDbError(
            f"The database of {record.parent} is gone: {home} does not exist. Bring it back (in a "
            f"container, {SYSTEM_FOLDER} must be on a volume too), or delete {record} to begin "
            "with an empty one."
        )


def make_home(place: Place) -> None:
    """Make the home folder of a place; raise `EmbeddedDbError` if it is not ours to use."""
    if place.home.is_relative_to(place.data_dir):
        place.data_dir.mkdir(parents=True, exist_ok=True)
        place.home.mkdir(mode=0o700, exist_ok=True)
    else:
        system = place.home.parent
        if not system.is_dir():
            system.mkdir(parents=True, exist_ok=True)
            system.chmod(0o755)
        if system.stat().st_uid != 0 or system.stat().st_mode & 0o022:
            raise EmbeddedDbError(
                f"{system} must belong to root and be writable by nobody else: anyone could put "
                f"a database there. chown root {system}; chmod 755 {system}"
            )
        # The server's account passes through, and lists nothing.
        if not place.home.is_dir():
            place.home.mkdir(exist_ok=True)
            place.home.chmod(0o711)
    owner_uid = place.home.stat().st_uid
    if owner_uid != os.geteuid():
        raise EmbeddedDbError(
            f"The database of {place.data_dir} belongs to user id {owner_uid} ({place.home}): "
            "start and stop it as that user."
        )


@contextmanager
def locked(place: Place, waiting: Waiting) -> Iterator[int]:
    """Hold the lock under which a server is started and stopped; yields its descriptor.

    It lies beside the data, so that all who mean the same data mean the same lock. The kernel
    drops it when its holder dies.
    """
    path = place.home / "lock"
    while True:
        make_home(place)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            while not _try_lock(descriptor):
                waiting.step("another process is starting or stopping it")
            try:
                # `delete_db` may have taken the file away while we waited.
                current = os.path.samestat(os.fstat(descriptor), path.stat())
            except FileNotFoundError:
                current = False
            if current:
                yield descriptor
                # A forked child may have a copy of the descriptor: closing ours is not enough.
                # Not after an error: a start that we gave up on keeps the lock until it is over.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                return
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def settle(place: Place, *, uid: int, gid: int) -> Place:
    """Make the folders that the server's account writes to, and put the place on record.

    To be called under the lock, before a start. Returns the place with the socket's folder that
    is really used.
    """
    _make_private(place.log_dir, uid=uid, gid=gid)
    fitting = place.socket_dir if _fits(place.socket_dir) else _default_socket_dir(place.home)
    if fitting.is_relative_to(place.home):
        _make_private(fitting, uid=uid, gid=gid)
        kept_socket_dir = str(fitting.relative_to(place.home))
    else:
        fitting = _own_short_folder(fitting, uid=uid, gid=gid)
        kept_socket_dir = str(fitting)
    # Relative where it can be, so that a data folder can be moved.
    inside = place.home.is_relative_to(place.data_dir)
    kept = {
        "data_dir": str(place.data_dir),
        "home": str(place.home.relative_to(place.data_dir) if inside else place.home),
        "socket_dir": kept_socket_dir,
    }
    text = json.dumps(kept, indent=2) + "\n"
    record = place.data_dir / RECORD
    if not record.exists() or record.read_text() != text:
        place.data_dir.mkdir(parents=True, exist_ok=True)
        write_whole(record, text)
    return replace(place, socket_dir=fitting)


def write_whole(path: Path, text: str) -> None:
    """Write a file (mode 0644) that others see either as it was or complete."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _fits(socket_dir: Path) -> bool:
    path = os.fsencode(socket_dir / f".s.PGSQL.{PORT}")
    # A comma separates hosts in an address.
    return len(path) <= MAX_SOCKET_PATH_BYTES and b"," not in path


def _default_socket_dir(home: Path) -> Path:
    inside = home / "run"
    return inside if _fits(inside) else SHORT_FOLDER / f"vbatch-{os.geteuid()}-{_digest(home)}"


def _own_short_folder(wanted: Path, *, uid: int, gid: int) -> Path:
    try:
        wanted.mkdir(mode=0o700)
    except FileExistsError:
        if not _is_private(wanted, owners={uid}):
            # Someone else was there first with our name: take one that cannot be guessed.
            wanted = Path(tempfile.mkdtemp(prefix=f"vbatch-{uid}-", dir=SHORT_FOLDER))
    os.chown(wanted, uid, gid)
    return wanted


def _make_private(folder: Path, *, uid: int, gid: int) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    # Each time: a start that was killed may have left it between the two steps.
    os.chown(folder, uid, gid, follow_symlinks=False)


def _is_private(folder: Path, *, owners: set[int]) -> bool:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in owners and not found.st_mode & 0o077


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
