"""Start the set-up with any Python, before a virtual environment exists: `make setup`.

python3 -m vbatch_site.bootstrap [--dev]
"""
# Nothing newer than Python 2 below: an old Python must be able to read this file, so that it can
# say what is wrong.
# ruff: noqa: I002, UP031, UP036

import sys


def main():  # type: ignore[no-untyped-def]
    if sys.version_info < (3, 11):
        sys.exit(
            "Python 3.11 or newer is needed, this is %d.%d (%s).\n"
            "What to do: install a newer one (Debian, Ubuntu: apt-get install python3.11 "
            "python3.11-venv), then run make again, or name it: make PYTHON=/path/to/python3.12"
            % (sys.version_info[0], sys.version_info[1], sys.executable)
        )
    from vbatch_site.setup.command import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()  # type: ignore[no-untyped-call]
