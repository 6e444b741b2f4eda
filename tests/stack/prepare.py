"""Sets a product up, run as a process with its settings: tables, an API key, models.

Reads `{"key": bool, "models": {name: {column: value}}}` from standard input and writes
`{"key": str | null}` to standard output.
"""

from __future__ import annotations

import json
import sys

import django
from django.core.management import call_command


def main() -> None:
    wanted = json.load(sys.stdin)
    django.setup()
    from jobs.services.projects import create_key, get_project
    from jobs.services.served_models import save_model

    key = None
    if wanted["key"]:
        call_command("migrate", verbosity=0, interactive=False)
        call_command("createcachetable", verbosity=0)
        _, key = create_key(project=get_project(), name="stack")
    for name, columns in wanted["models"].items():
        save_model(name=name, replace=True, **columns)
    json.dump({"key": key}, sys.stdout)


if __name__ == "__main__":
    main()
