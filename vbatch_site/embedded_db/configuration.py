"""The server's settings, written anew at each start and sized to the machine at hand."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from vbatch_site.embedded_db.accounts import Account
from vbatch_site.embedded_db.places import PORT, ROLE, Place, write_whole

MIB = 1024 * 1024
CONFIG_FILE = "vbatch.conf"


def write_configuration(place: Place, account: Account) -> None:
    """Write the settings and the two files that say who may connect."""
    write_whole(place.home / CONFIG_FILE, _settings(place))
    write_whole(
        place.home / "pg_hba.conf",
        "# Written at each start. Local callers only, and the kernel says who they are.\n"
        "local all         all peer map=vbatch\n"
        "local replication all peer map=vbatch\n",
    )
    root = pwd.getpwuid(0).pw_name
    names = dict.fromkeys([account.name, root])
    lines = [f'vbatch "{name}" {ROLE}\n' for name in names]
    write_whole(place.home / "pg_ident.conf", "# Written at each start.\n" + "".join(lines))


def memory_bytes() -> int:
    """Return the memory that the machine has, or that its control group allows if less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        memory = min(memory, int(text))
    return memory


def _settings(place: Place) -> str:
    memory_mib = memory_bytes() // MIB
    values: dict[str, str | int] = {
        "listen_addresses": "",
        "port": PORT,
        "unix_socket_directories": _as_list_item(place.socket_dir),
        "unix_socket_permissions": "0700",
        "hba_file": str(place.home / "pg_hba.conf"),
        "ident_file": str(place.home / "pg_ident.conf"),
        "cluster_name": "vbatch",
        "max_connections": 200,
        # Modest: the engines want the memory, and the kernel's cache serves as well.
        "shared_buffers": f"{min(max(memory_mib // 32, 128), 1024)}MB",
        "effective_cache_size": f"{max(memory_mib // 4, 256)}MB",
        "work_mem": "8MB",
        "maintenance_work_mem": "128MB",
        "jit": "off",
        # What is committed stays committed when the plug is pulled.
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        # A bulk load writes a few hundred MB: fewer checkpoints in it, at the price of a recovery
        # that may read back as much.
        "wal_buffers": "16MB",
        "min_wal_size": "256MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "10min",
        "checkpoint_completion_target": "0.9",
        "timezone": "UTC",
        # The messages are read by `ensure_db`.
        "lc_messages": "C",
        # A file a weekday, each begun anew after a week.
        "logging_collector": "on",
        "log_destination": "stderr",
        "log_directory": str(place.log_dir),
        "log_filename": "postgres-%a.log",
        "log_rotation_age": "1d",
        "log_rotation_size": 0,
        "log_truncate_on_rotation": "on",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %d ",
        "log_checkpoints": "off",
        # A failing statement and its details quote people's prompts: neither goes into the log.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    lines = [f"{name} = {_quoted(str(value))}\n" for name, value in values.items()]
    head = (
        f"# The database of {str(place.data_dir)!a}. Written at each start: to change a setting "
        "for good, use ALTER SYSTEM (manage.py db shell), which wins over this file.\n"
    )
    return head + "".join(lines)


def _as_list_item(path: Path) -> str:
    # This setting takes a list, so a comma or a space in the path needs quotes of its own.
    return '"' + str(path).replace('"', '""') + '"'


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
