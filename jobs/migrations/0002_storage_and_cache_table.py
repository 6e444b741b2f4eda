"""How bodies are stored, and the table of the shared cache."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.db import migrations


def create_cache_table(apps: Any, schema_editor: Any) -> None:
    call_command("createcachetable", database=schema_editor.connection.alias, verbosity=0)


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]

    operations = [
        migrations.RunPython(create_cache_table, migrations.RunPython.noop, elidable=False),
        # Compressing bodies costs more time at ingest than the space is worth.
        migrations.RunSQL(
            "ALTER TABLE jobs_batchrequest ALTER COLUMN body SET STORAGE EXTERNAL;"
            "ALTER TABLE jobs_batchresponse ALTER COLUMN body SET STORAGE EXTERNAL;",
            "ALTER TABLE jobs_batchrequest ALTER COLUMN body SET STORAGE EXTENDED;"
            "ALTER TABLE jobs_batchresponse ALTER COLUMN body SET STORAGE EXTENDED;",
        ),
    ]
