"""How long a data set of many rows takes to be built and exported, and how much memory.

    python -m benchmarks.harness.exports [--rows 100000] [--rounds 2] [--shape openai-sft]

Fills a database of its own with gold stars of about 1 KB each, makes a version of them, freezes
it, and exports it as often as asked, each time anew, with a process for each step whose largest
memory is told. Exit status 1 if an export takes longer than 30 s or two differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from tests.stack import Stack
from tests.stack.product import ROOT

LIMIT_S = 30.0
_STARS = """
INSERT INTO curation_goldstar (public_id, project_id, batch_public_id, custom_id, line, position,
    endpoint, model_name, request_body, response_body, prompt_text, prompt_sha256, answer_text,
    answer_sha256, finish_reason, input_tokens, output_tokens, answered_at, provenance,
    quality_score, tags, notes, edited_answer, created_at, updated_at, revision, created_by_name)
SELECT 'gold_' || md5(n::text), %(project)s, 'batch_' || md5('a'), 'line-' || n, n, n,
    '/v1/chat/completions', 'small',
    convert_to(json_build_object('model', 'small', 'temperature', 0.7, 'messages',
        json_build_array(json_build_object('role', 'system', 'content', 'You answer briefly.'),
            json_build_object('role', 'user', 'content', prompt)))::text, 'UTF8'),
    convert_to(json_build_object('choices', json_build_array(json_build_object('index', 0,
        'message', json_build_object('role', 'assistant', 'content', answer),
        'finish_reason', 'stop')))::text, 'UTF8'),
    prompt, sha256(convert_to(prompt, 'UTF8')), answer, sha256(convert_to(answer, 'UTF8')),
    'stop', 60, 120, now(), '{"model_source": "/models/small"}', 1 + n %% 10,
    ARRAY['bench'], '', CASE WHEN n %% 3 = 0 THEN answer || ' Better.' END, now(), now(), 1, 'x'
FROM (
    SELECT n, (SELECT string_agg(md5((n * 40 + k)::text), ' ') FROM generate_series(1, 10) k)
            AS prompt,
        (SELECT string_agg(md5((n * 40 + k)::text), ' ') FROM generate_series(11, 30) k) AS answer
    FROM generate_series(1, %(rows)s) AS n
) AS made
"""
# Run by itself, so that its memory is its own.
_STEP = """
import json, resource, sys, time
import django
django.setup()
from curation import tasks
from curation.models import DatasetVersion, Export
from curation.services.datasets import Plan, create_dataset, create_version, freeze_version
from curation.services.exports import create_export
from curation.services.gold_filter import GoldFilter
from jobs.services.projects import get_project
step, shape = sys.argv[1], sys.argv[2]
if step == "build":
    dataset = create_dataset(project=get_project(), name="bench")
    create_version(dataset=dataset, plan=Plan(stars=GoldFilter(tag="bench")))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if step == "export":
    Export.objects.all().delete()
    create_export(version=DatasetVersion.objects.get(), shape=shape)
started = time.monotonic()
(tasks.build_versions if step == "build" else tasks.run_exports)()
took = time.monotonic() - started
version = DatasetVersion.objects.get()
assert version.state != "failed", version.error
if step == "build":
    freeze_version(version=version, reason="a benchmark")
found = {"s": took, "rows": version.rows, "sha256": version.sha256}
if step == "export":
    done = Export.objects.get()
    assert done.state == "done", done.error
    found |= {"rows": done.rows_done, "sha256": done.sha256, "bytes": done.file.bytes}
found["mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
print("FOUND" + json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--shape", action="append", help="openai-sft and parquet if none is named")
    args = parser.parse_args()
    table = Table("step", "rows", "seconds", "rows/s", "MB more", "MB of file", "SHA-256")
    held = True
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), models={}) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT id FROM jobs_project WHERE name = 'default'"
            ).fetchone()
            assert row is not None
            connection.execute(_STARS, {"project": row[0], "rows": args.rows})
            connection.execute("VACUUM ANALYZE curation_goldstar")
        steps = [("build", "")]
        for shape in args.shape or ["openai-sft", "parquet"]:
            steps += [("export", shape)] * args.rounds
        seen: dict[str, str] = {}
        for step, shape in steps:
            found = _run(stack, step, shape)
            table.add_row(
                f"{step} {shape}",
                f"{found['rows']:,}",
                f"{found['s']:.1f}",
                f"{found['rows'] / found['s']:,.0f}",
                f"{found['mb']:.0f}",
                f"{found.get('bytes', 0) / 1e6:.1f}",
                found["sha256"][:12],
            )
            if step == "export":
                held &= (
                    found["s"] <= LIMIT_S
                    and seen.setdefault(shape, found["sha256"]) == (found["sha256"])
                )
    Console(width=110).print(table)
    sys.exit(0 if held else 1)


def _run(stack: Stack, step: str, shape: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _STEP, step, shape],
        env=stack.env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    line = next((one for one in done.stdout.splitlines() if one.startswith("FOUND")), None)
    if line is None:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])
    found: dict[str, Any] = json.loads(line.removeprefix("FOUND"))
    return found


if __name__ == "__main__":
    main()
