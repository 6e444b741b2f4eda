"""Curation in the Django admin: a team may work there alone."""

from curation.admin import answers, datasets, gold, reviews

__all__ = ["answers", "datasets", "gold", "reviews"]
