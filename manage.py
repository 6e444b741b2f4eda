#!/usr/bin/env python
"""Django's command line for vbatch."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vbatch_site.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            f"Cannot start: {error}. Run `make setup`, then use .venv/bin/python manage.py"
        ) from error
    execute_from_command_line(sys.argv)


# django-q2 starts processes that import this file again, so the guard is needed.
if __name__ == "__main__":
    main()
