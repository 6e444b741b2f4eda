"""The site itself as an app: system checks and the commands for the whole."""

from __future__ import annotations

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "vbatch_site"
    label = "site_wide"
    verbose_name = "vbatch"

    def ready(self) -> None:
        from vbatch_site import checks  # noqa: F401  (registers the checks)
