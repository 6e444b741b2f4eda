"""Fills a database of its own with many batches, lines and samples, for the measuring of pages.

    python -m benchmarks.harness.seeding FOLDER [--batches 200000] [--responses 1000000]
        [--samples 1000000]

Everything lies in FOLDER, which must be new; `benchmarks.harness.pages` measures on it, and
`--remove` takes it away again. The same numbers always give the same rows, except their times.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.harness.seeding import batches, bench_runs, fleet, lines, samples
from tests.stack import Stack
from vbatch_site.embedded_db import delete_db

COUNTED = (
    "jobs_batch",
    "jobs_storedfile",
    "jobs_batchrequest",
    "jobs_batchresponse",
    "jobs_batchevent",
    "jobs_webhookdelivery",
    "jobs_auditentry",
    "monitoring_series",
    "monitoring_sample",
    "monitoring_batchsummary",
    "monitoring_daytally",
    "curation_responsesearch",
    "monitoring_laneuse",
    "benchmarks_run",
    "benchmarks_runpart",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batches", type=int, default=200_000)
    parser.add_argument("--responses", type=int, default=1_000_000, help="at least so many")
    parser.add_argument("--samples", type=int, default=1_000_000, help="at least so many")
    parser.add_argument("--remove", action="store_true", help="stop the database, delete it all")
    args = parser.parse_args()
    if args.remove:
        delete_db(args.folder.resolve() / "data")
        shutil.rmtree(args.folder)
        return
    if args.batches < 500 or args.responses < args.batches:
        parser.error("at least 500 batches, and a response for each")
    if args.folder.exists():
        parser.error(f"{args.folder} is there already; --remove deletes it")
    with Stack(args.folder, models={}, keep=True) as stack:
        started = time.monotonic()
        seed(
            stack.database_url,
            batch_count=args.batches,
            response_count=args.responses,
            sample_count=args.samples,
        )
        _show(stack.database_url, time.monotonic() - started)


def seed(url: str, *, batch_count: int, response_count: int, sample_count: int) -> None:
    """Fill the tables of a product that has just been set up."""
    with psycopg.connect(url, autocommit=True) as connection:
        # Rows are made to fit each other: checking each foreign key would double the time.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("SET work_mem = '256MB'")
        fleet.seed(connection)
        batches.plan(connection, batch_count=batch_count, response_count=response_count)
        lines.seed(connection)
        batches.seed(connection)
        lines.seed_search(connection)
        samples.seed(connection, sample_count=sample_count)
        bench_runs.seed(connection)
        _set_sequences(connection)
        # What autovacuum would have done by and by.
        connection.execute("VACUUM (ANALYZE)")


def _set_sequences(connection: psycopg.Connection) -> None:
    """Let the next row of each table get an id that is free."""
    owned = connection.execute(
        "SELECT table_name, pg_get_serial_sequence(table_name, 'id')"
        " FROM information_schema.columns"
        " WHERE column_name = 'id' AND is_identity = 'YES' AND table_schema = 'public'"
    ).fetchall()
    for table, sequence in owned:
        connection.execute(
            f"SELECT setval('{sequence}', (SELECT coalesce(max(id), 0) + 1 FROM {table}), false)"
        )


def _show(url: str, seconds: float) -> None:
    table = Table("table", "rows", title=f"filled in {seconds:.0f} s")
    with psycopg.connect(url) as connection:
        for name in COUNTED:
            row = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
            table.add_row(name, f"{row[0]:,}" if row else "")
    Console().print(table)


if __name__ == "__main__":
    main()
