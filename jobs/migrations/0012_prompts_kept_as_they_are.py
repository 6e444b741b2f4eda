"""Prompts of up to half a page stand in their row, not compressed."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0011_reuse_and_run_order")]

    operations = [
        # By itself PostgreSQL compresses what makes a row longer than a quarter of a page: of
        # prompts of 2 KB that took a fifth of their validation. Rows that are there stay as
        # they are.
        migrations.RunSQL(
            "ALTER TABLE jobs_batchrequest SET (toast_tuple_target = 4080);",
            "ALTER TABLE jobs_batchrequest RESET (toast_tuple_target);",
        ),
    ]
