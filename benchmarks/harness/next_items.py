"""How long the next item of a review set takes to be handed out, with many reviewers at once.

    python -m benchmarks.harness.next_items [--items 100000] [--reviewers 20] [--each 40]

Fills a review set of a database of its own, and lets each reviewer, a thread, take an item,
think for a second on average, and submit it, again and again. The time is that of the
service call. Exit status 1 if its 95th percentile is 20 ms or more, or an item was given to more
people than its overlap says.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from tests.stack import Stack

LIMIT_MS = 20.0
THINK_S = 1.0
_ITEMS = """
INSERT INTO curation_reviewitem (review_set_id, position, batch_public_id, line_position, custom_id,
    model_name, request_body, response_body, prompt_text, answer_text, finish_reason, taken, done,
    is_open)
SELECT %(set)s, n, 'batch_bench', n, 'line-' || n, 'small', '{}', '{}', repeat(md5(n::text), 20),
    repeat(md5(n::text), 20), 'stop', 0, 0, TRUE
FROM generate_series(0, %(items)s - 1) AS n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--reviewers", type=int, default=20)
    parser.add_argument("--each", type=int, default=40, help="items a reviewer judges")
    parser.add_argument("--overlap", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), models={}) as stack:
        os.environ.update(stack.env)
        import django

        django.setup()
        sys.exit(0 if measure(stack, args) else 1)


def measure(stack: Stack, args: argparse.Namespace) -> bool:
    from django.contrib.auth.models import User
    from django.db import connection

    from curation.models import Review, ReviewItem
    from curation.services.reviews.claiming import claim_next_item
    from curation.services.reviews.judging import Judgement, submit_review
    from curation.services.reviews.sets import create_review_set
    from jobs.services.projects import get_project

    made = create_review_set(
        project=get_project(), name="bench", rubric="quality: rating", overlap=args.overlap
    )
    with psycopg.connect(stack.database_url, autocommit=True) as own:
        own.execute(_ITEMS, {"set": made.pk, "items": args.items})
        own.execute("VACUUM ANALYZE curation_reviewitem")
    people = [User.objects.create_user(f"reviewer{n}") for n in range(args.reviewers)]
    took_ms: list[float] = []

    def work(person: User) -> None:
        rng = random.Random(person.username)
        for _ in range(args.each):
            started = time.perf_counter()
            review = claim_next_item(review_set=made, reviewer=person)
            took_ms.append((time.perf_counter() - started) * 1000)
            if review is None:
                break
            time.sleep(rng.uniform(0, 2 * THINK_S))
            submit_review(review=review, judgement=Judgement(values={"quality": 7}))
        connection.close()

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = Counter(Review.objects.filter(holds=True).values_list("item", flat=True))
    most = max(given.values())
    counted = dict(ReviewItem.objects.filter(pk__in=given).values_list("pk", "taken"))
    p95 = sorted(took_ms)[int(len(took_ms) * 0.95)]
    table = Table(
        "items", "reviewers", "calls", "median ms", "p95 ms", "worst ms", "most to an item"
    )
    table.add_row(
        f"{args.items:,}",
        str(args.reviewers),
        f"{len(took_ms):,}",
        f"{statistics.median(took_ms):.1f}",
        f"{p95:.1f}",
        f"{max(took_ms):.1f}",
        f"{most} of {args.overlap}",
    )
    Console(width=100).print(table)
    return p95 < LIMIT_MS and most <= args.overlap and counted == given


if __name__ == "__main__":
    main()
