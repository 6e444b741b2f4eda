"""The tables of the Batch API in the Django admin."""

from jobs.admin import audit, batches, fleet, lines, projects, tasks, uploads, webhooks

__all__ = ["audit", "batches", "fleet", "lines", "projects", "tasks", "uploads", "webhooks"]
