"""What the pages are made of: served from here, licensed, and fit for the strictest content security policy."""

import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from portal.environment import BASE_DIR

VENDORED = BASE_DIR / "static" / "vendor"
# A mail has no policy, and its styles with it.
TEMPLATES = sorted(path for path in (BASE_DIR / "templates").rglob("*.html") if path.name != "mail.html")
SCRIPTS = sorted(path for path in (BASE_DIR / "static").rglob("*.js"))
# What only inline script, inline style or another host would need.
FORBIDDEN = {
    "a handler in an attribute": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "a style in an attribute": re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE),
    "a script in the page": re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", re.IGNORECASE),
    "a style sheet in the page": re.compile(r"<style\b", re.IGNORECASE),
    "a file of another host": re.compile(r"(?:src|href)=[\"'](?:https?:)?//", re.IGNORECASE),
}


@pytest.mark.parametrize("folder", sorted(path.name for path in VENDORED.iterdir() if path.is_dir()))
def test_what_others_made_comes_with_its_licence_and_its_version_is_written_down(folder: str) -> None:
    names = [path.name for path in (VENDORED / folder).iterdir()]

    assert any(name.startswith("LICENSE") for name in names)
    assert re.search(rf"`{folder}/`.*\d+\.\d+", (VENDORED / "README.md").read_text())


@pytest.mark.parametrize("folder", sorted(path.name for path in VENDORED.iterdir() if path.is_dir()))
def test_what_others_made_is_there_because_a_page_uses_it(folder: str) -> None:
    assert any(f"vendor/{folder}/" in template.read_text() for template in TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(BASE_DIR)))
def test_a_template_holds_nothing_that_the_policy_forbids(template: Path) -> None:
    text = template.read_text()

    assert [rule for rule, pattern in FORBIDDEN.items() if pattern.search(text)] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(BASE_DIR)))
def test_a_script_evaluates_no_text_and_names_no_map_that_is_not_here(script: Path) -> None:
    text = script.read_text()

    assert "sourceMappingURL" not in text
    assert not re.search(r"\beval\(|new Function\(", text)


def test_the_files_can_be_collected_under_names_that_tell_their_content(settings, tmp_path: Path) -> None:
    storage = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}
    settings.STATIC_ROOT = tmp_path

    call_command("collectstatic", interactive=False, verbosity=0)

    assert list((tmp_path / "portal").glob("theme.*.css"))
    assert list((tmp_path / "vendor" / "chartjs").glob("chart.umd.min.*.js"))


@pytest.mark.django_db
def test_no_page_makes_an_exception_to_the_policy(client: Client) -> None:
    policy = client.get(reverse("account_login"))["Content-Security-Policy"].split("; ")

    assert {"default-src 'self'", "script-src 'self'", "style-src 'self'", "object-src 'none'"} <= set(policy)
    assert not any("unsafe" in directive or "nonce" in directive for directive in policy)
