"""Models in the words of the terminal: their fields, and the command that enters them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from jobs.models import ServedModel
from jobs.services.masking import Change

_LABELS = {
    "upstream_url": "upstream",
    "upstream_model": "upstream's model",
    "upstream_key_env": "variable of the upstream's key",
    "upstream_concurrency": "requests at once",
    "engine_args": "engine arguments",
    "enabled": "switched on",
}


def change_lines(changes: Iterable[Change]) -> list[str]:
    """Return a line for each change: the field, what it was, and what it is then."""
    return [
        f"  {_LABELS.get(change.field, change.field)}: "
        f"{value_text(change.old)} -> {value_text(change.new)}"
        for change in changes
    ]


def value_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(value)
    return str(value) if value != "" else "(none)"


def add_command(model: ServedModel) -> str:
    """Return the command that enters the model as it is, and switches it on."""
    words = ["manage.py", "addmodel", model.name]
    if model.is_upstream:
        words.append(f"--upstream={model.upstream_url}")
        if model.upstream_model:
            words.append(f"--upstream-model={model.upstream_model}")
        if model.upstream_key_env:
            words.append(f"--upstream-key-env={model.upstream_key_env}")
        words.append(f"--concurrency={model.upstream_concurrency}")
    else:
        words.append(f"--source={model.source}")
        if model.engine_args:
            words.append(f"--engine-args={model.engine_args}")
    words += [f"--alias={alias}" for alias in model.aliases]
    return shlex.join(words)
