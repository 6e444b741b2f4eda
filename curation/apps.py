"""Reviews, gold stars, data sets and exports."""

from __future__ import annotations

from django.apps import AppConfig


class CurationConfig(AppConfig):
    name = "curation"
