"""Pages of the site, chapters of the documentation, and settings."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import slugify

from portal.documentation import list_documents
from portal.navigation import SitePage, build_navigation, can_open
from portal.search.hits import Hit

# Pages that no menu has.
MORE_PAGES: Final = (
    SitePage("Add a source", "admin:usage_source_add", ("usage.add_source",)),
    SitePage("Add a user", "admin:auth_user_add", ("auth.add_user",)),
    SitePage("Add an API token", "admin:accounts_apitoken_add", ("accounts.add_apitoken",)),
    SitePage("Add a channel", "admin:incidents_channel_add", ("incidents.add_channel",)),
    SitePage("Change password", "admin:password_change"),
    SitePage("Second factor", "mfa_index"),
)
HEADING: Final = re.compile(r"^#{1,3} (.+)$")
SETTING: Final = re.compile(r"^\| `((?:[A-Z]+_)+[A-Z]+|[A-Z]{6,})`")
MEANING: Final = 90  # characters


def find_pages(request: HttpRequest, text: str) -> Iterator[Hit]:
    """Yield the pages that this person may open and whose label contains all the words."""
    for menu in build_navigation(request):
        for link in menu.links:
            if has_words(f"{menu.label} {link.label}", text):
                yield Hit(link.label, menu.label or "Page", link.url)
    for page in MORE_PAGES:
        if can_open(request, page) and has_words(page.label, text):
            yield Hit(page.label, "Page", reverse(page.url_name))


def find_documentation(_: HttpRequest, text: str) -> Iterator[Hit]:
    """Yield the settings, then the chapters, whose name contains all the words."""
    for name, meaning, path in list_settings():
        if has_words(name, text):
            yield Hit(name, f"Setting: {meaning}", build_document_url(path))
    for title, document, path in list_chapters():
        if has_words(title, text):
            yield Hit(title, f"Documentation: {document}", build_document_url(path))


def has_words(label: str, text: str) -> bool:
    """Return whether a label contains every word of a text, in any case."""
    return all(word in label.casefold() for word in text.casefold().split())


def build_document_url(path: str) -> str:
    """Return the address of a chapter: `docs/api.md#mirrors`."""
    document, _, chapter = path.partition("#")
    return f"{reverse('admin:document', args=[document])}{f'#{chapter}' if chapter else ''}"


@cache
def list_chapters() -> list[tuple[str, str, str]]:
    """Return the headings of all documents: title, title of the document, and path with the heading."""
    return [
        (title, lines[0].removeprefix("# "), path if not place else f"{path}#{slugify(title)}")
        for path, lines in read_documents()
        for place, title in list_headings(lines)
    ]


@cache
def list_settings() -> list[tuple[str, str, str]]:
    """Return the settings of the tables in the documentation: name, meaning, and path with the heading above."""
    settings_by_name: dict[str, tuple[str, str, str]] = {}
    for path, lines in read_documents():
        chapter = ""
        for line in lines:
            if heading := HEADING.match(line):
                chapter = slugify(heading[1])
            elif setting := SETTING.match(line):
                meaning = line.strip("| ").split(" | ")[-1].replace("`", "")
                settings_by_name.setdefault(setting[1], (setting[1], meaning[:MEANING], f"{path}#{chapter}"))
    return list(settings_by_name.values())


def read_documents() -> Iterator[tuple[str, list[str]]]:
    """Yield the path and the lines of each document."""
    for path, file in sorted(list_documents().items()):
        yield path, file.read_text(encoding="utf-8").splitlines()


def list_headings(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each heading outside of code."""
    is_code = False
    for place, line in enumerate(lines):
        is_code ^= line.startswith("```")
        if not is_code and (heading := HEADING.match(line)):
            yield place, heading[1]
