"""The front-end kit: what was fetched is what the lockfile says, and pages need nothing else."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser

import pytest
from django.core.management import call_command

from tests.cast import make_batch
from vbatch_site.vendoring.kit import ROOT, SPRITE, read_lock

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))


def test_the_kit_is_what_the_lockfile_says():
    for package in read_lock():
        assert (package.target / "LICENSE").read_text().startswith("The MIT License")
        for taken in package.files:
            content = (package.target / taken.target).read_bytes()
            assert hashlib.sha256(content).hexdigest() == taken.sha256, taken.target


def test_the_sprite_holds_the_icons_in_use_and_no_others():
    used = set()
    for template in TEMPLATES:
        used |= set(re.findall(r'{% icon "([a-z0-9-]+)"', template.read_text()))
    from jobs.views import shown

    used |= {badge.icon for badge in vars(shown).values() if isinstance(badge, shown.Badge)}
    assert set(re.findall(r'id="i-([a-z0-9-]+)"', SPRITE.read_text())) == used


def test_our_own_css_stays_small():
    for css in (ROOT / "static" / "css").glob("*.css"):
        assert len(css.read_text().splitlines()) < 300


class _Strict(HTMLParser):
    """Collects what a strict policy would refuse, and what would be fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "script" and "src" not in named:
            self.faults.append("an inline script")
        if tag == "style" or "style" in named:
            self.faults.append(f"an inline style in {tag}")
        self.faults += [f"{tag} {name}" for name in named if name.startswith(("on", "hx-on"))]
        for name in ("src", "href", "action"):
            if re.match(r"(https?:)?//|javascript:", named.get(name) or ""):
                self.faults.append(f"{tag} {name}={named[name]}")


PAGES = ["/", "/monitor", "/batches", "BATCH", "/batches/batch_unknown"]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_needs_nothing_from_elsewhere_and_no_inline_script(page, project, address):
    batch = make_batch(project=project, texts=["a"], errors=["b"], open_lines=1)
    response = page.get(address.replace("BATCH", f"/batches/{batch.public_id}"))
    strict = _Strict()
    strict.feed(response.content.decode())
    assert strict.faults == []
    policy = response["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe-eval" not in policy


def test_every_static_file_that_is_named_exists(settings, tmp_path):
    """As in production: hashed names, where a name that is missing is an error."""
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    from django.contrib.staticfiles.storage import staticfiles_storage

    for template in TEMPLATES:
        for name in re.findall(r"{% static '([^']+)' %}", template.read_text()):
            assert staticfiles_storage.url(name).startswith(settings.STATIC_URL)
