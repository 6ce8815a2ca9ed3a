"""The page of results, of which the search box of every page shows a part while a person types."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from portal.search.hits import Hit, HitGroup
from portal.search.ids import find_ids
from portal.search.names import MAX_HITS, find_names, find_sources, find_views
from portal.search.pages import find_documentation, find_pages
from usage.timeouts import QueryTimeout, limit_query_time

MIN_CHARACTERS: Final = 2
MAX_CHARACTERS: Final = 200
SECONDS: Final = 1.5  # of each query
FINDERS: Final[tuple[tuple[str, Callable[[HttpRequest, str], Iterator[Hit]]], ...]] = (
    ("Ids", find_ids),
    ("Names", find_names),
    ("Sources", find_sources),
    ("Saved views", find_views),
    ("Pages", find_pages),
    ("Documentation and settings", find_documentation),
)


def search(request: HttpRequest) -> HttpResponse:
    """Show what the text of `q` finds."""
    text = request.GET.get("q", "").replace("\0", "").strip()[:MAX_CHARACTERS]
    groups, slow = find_all(request, text) if len(text) >= MIN_CHARACTERS else ([], [])
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "q": text,
        "groups": groups,
        "slow": slow,
        "least": MIN_CHARACTERS,
        "is_short": bool(text) and len(text) < MIN_CHARACTERS,
    }
    return TemplateResponse(request, "admin/portal/search.html", context)


def find_all(request: HttpRequest, text: str) -> tuple[list[HitGroup], list[str]]:
    """Return the hits by sort, and the sorts that took too long."""
    groups, slow = [], []
    for title, find in FINDERS:
        try:
            hits = fetch_hits(request, text, find)
        except QueryTimeout:
            slow.append(title)
            continue
        if hits:
            groups.append(HitGroup(title, hits[:MAX_HITS], len(hits) > MAX_HITS))
    return groups, slow


def fetch_hits(request: HttpRequest, text: str, find: Any) -> list[Hit]:
    """Return the first hits, one more than are shown."""
    with limit_query_time(SECONDS):
        return list(islice(find(request, text), MAX_HITS + 1))
