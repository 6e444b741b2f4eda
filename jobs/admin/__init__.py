"""The tables of the Batch API in the Django admin."""

from jobs.admin import batches, fleet, lines, projects, tasks

__all__ = ["batches", "fleet", "lines", "projects", "tasks"]
