"""Names of the directory, sources and saved views by a part of what they are called."""

from collections.abc import Iterator
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from portal.incidents.alerts import get_source_url
from portal.search.hits import Hit
from usage.admin.names import build_usage_links, find_entries
from usage.api.access import filter_by_staff_scope, get_staff_name_access
from usage.directory.lookup import annotate_shown_names
from usage.explore.params import encode
from usage.explore.saved import get_view_url, list_views
from usage.models import DirectoryEntry, NameKind, Source

MAX_HITS: Final = 8  # of each sort


def find_names(request: HttpRequest, text: str) -> Iterator[Hit]:
    """Yield what the directory calls so, or has by this id; people only by what this person may see of them."""
    if not request.user.has_perm("usage.view_directoryentry"):
        return
    entries: QuerySet[Any] = annotate_shown_names(DirectoryEntry.objects.all(), get_staff_name_access(request))
    matches = find_entries(filter_by_staff_scope(entries, request, "source_id"), text)
    for entry in matches.select_related("source").order_by("gone_at", "shown", "pk")[: MAX_HITS + 1]:
        yield build_hit(request, entry)


def build_hit(request: HttpRequest, entry: Any) -> Hit:
    """Return the hit of a name: the chart of its usage, or its page in the directory."""
    gone_note = ", no longer at the vendor" if entry.gone_at else ""
    detail = f"{NameKind(entry.kind).label} of {entry.source.slug}, {entry.vendor_id}{gone_note}"
    page = reverse("admin:usage_directoryentry_change", args=[entry.pk])
    links, title = build_usage_links(request, entry), entry.shown or entry.vendor_id
    if links is None:
        return Hit(title, detail, page)
    return Hit(title, detail, links.explore, [("All its records", links.records), ("In the directory", page)])


def find_sources(request: HttpRequest, text: str) -> Iterator[Hit]:
    """Yield the sources whose name or vendor has the text in it."""
    if not request.user.has_perm("usage.view_source"):
        return
    sources = filter_by_staff_scope(Source.objects.defer("credential"), request, "id")
    for source in sources.filter(Q(slug__icontains=text) | Q(vendor__icontains=text)).order_by("slug")[: MAX_HITS + 1]:
        coverage = f"{reverse('admin:coverage')}?{encode([('source', source.slug)])}"
        links = [("Coverage", coverage)] if request.user.has_perm("usage.view_sourceday") else []
        yield Hit(source.slug, source.vendor, get_source_url(source), links)


def find_views(request: HttpRequest, text: str) -> Iterator[Hit]:
    """Yield the saved views that this person may open and whose name has the text in it."""
    if not request.user.has_perm("usage.view_savedview"):
        return
    for listed in list_views(request, ""):
        if text.casefold() in listed.view.name.casefold():
            yield Hit(listed.view.name, f"Saved view, {listed.description}", get_view_url(listed.view))
