"""Entering the models that are served."""

from __future__ import annotations

from typing import Any

from jobs.models import ServedModel


def save_model(*, name: str, **fields: Any) -> tuple[ServedModel, bool]:
    """Enter a model, or change the one of this name; the second part says if it is new.

    Engines that run keep what they were started with until they are next started.
    """
    model, created = ServedModel.objects.get_or_create(name=name, defaults=fields)
    if not created:
        for field, value in fields.items():
            setattr(model, field, value)
        model.save(update_fields=list(fields))
    return model, created


def find_model(name: str) -> ServedModel | None:
    """Return the enabled model that answers to `name`, its own or an alias."""
    enabled = ServedModel.objects.filter(enabled=True)
    return enabled.filter(name=name).first() or enabled.filter(aliases__contains=[name]).first()
