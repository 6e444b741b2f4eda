"""The figures of a batch, as a part of its page."""

from __future__ import annotations

from typing import Any

from django import template

from jobs.models import Batch
from monitoring.figures_shown import show_figures

register = template.Library()


@register.inclusion_tag("monitoring/_batch_figures.html")
def batch_figures(batch: Batch) -> dict[str, Any]:
    return show_figures(batch)
