"""The Django admin under the product's name."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig


class VbatchAdminSite(AdminSite):
    site_header = "vbatch"
    site_title = "vbatch"
    index_title = "Administration"


class VbatchAdminConfig(AdminConfig):
    default_site = "vbatch_site.admin_site.VbatchAdminSite"
