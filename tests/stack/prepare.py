"""Sets a product up, run as a process with its settings: tables, an API key, models.

Reads `{"key": bool, "login": bool, "models": {name: {column: value}}}` from standard input and
writes `{"key": str | null, "login": str | null}` to standard output: a key of the API, and a
token that logs an administrator in.
"""

from __future__ import annotations

import json
import sys

import django


def main() -> None:
    wanted = json.load(sys.stdin)
    django.setup()
    from jobs.services.projects import create_key, get_project
    from jobs.services.served_models import save_model
    from tests.stack.template import make_tables

    key = None
    if wanted["key"]:
        make_tables()
        _, key = create_key(project=get_project(), name="stack")
    for name, columns in wanted["models"].items():
        save_model(name=name, replace=True, **columns)
    token = None
    if wanted["login"]:
        from django.contrib.auth.models import User

        from jobs.services.login_links import create_login_token

        person = User.objects.filter(username="admin").first()
        token = create_login_token(user=person or User.objects.create_superuser("admin"))
    json.dump({"key": key, "login": token}, sys.stdout)


if __name__ == "__main__":
    main()
