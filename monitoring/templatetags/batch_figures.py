"""What monitoring adds to the page of a batch: its figures, and its course as charts."""

from __future__ import annotations

from typing import Any

from django import template

from jobs.models import Batch
from monitoring.figures_shown import show_figures

register = template.Library()


@register.inclusion_tag("monitoring/_batch_live.html")
def batch_figures(batch: Batch) -> dict[str, Any]:
    return show_figures(batch)
