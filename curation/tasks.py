"""What django-q2 runs for curation: each may come late, twice or never, and changes nothing."""

from __future__ import annotations

from curation.services import dataset_build, exports, search_index, star_import


def index_responses() -> None:
    """Make findable what was answered lately."""
    search_index.index_responses()


def index_every_response() -> None:
    """Make findable what was answered while nobody was there to do it."""
    search_index.index_responses(every=True)


def build_versions() -> None:
    """Build the versions of data sets that wait for it."""
    dataset_build.build_due_versions()


def run_exports() -> None:
    """Write the exports that wait for it."""
    exports.run_due_exports()


def run_star_imports() -> None:
    """Take over the ratings that were imported and wait for it."""
    star_import.run_star_imports()
