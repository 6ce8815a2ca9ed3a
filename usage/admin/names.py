"""The names that the vendors give to the ids in usage, and links to the usage of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from usage.admin.base import ReadOnlyAdmin
from usage.admin.display import Table, build_list_column
from usage.admin.filters import SourceListFilter, build_choice_filter, build_column_filter
from usage.admin.lists.cells import render_id
from usage.api.access import get_staff_name_access
from usage.api.directory import COLUMNS
from usage.data_quality import VENDOR_KINDS
from usage.directory.lookup import NAMED_COLUMNS, TEAM, annotate_shown_names, find_names
from usage.formatting import NOTHING, format_age, format_date
from usage.models import KIND_NAMES, DirectoryEntry, EnvironmentUsage, NameKind, UsageRecord
from usage.param_values import write_value
from usage.ranges import DEFAULT_RANGE, get_range
from usage.text_search import build_search

SAFE = ",:"  # as Explore writes its addresses


@dataclass(frozen=True, slots=True)
class UsageLinks:
    """The addresses of the chart and of the records of an id's usage."""

    explore: str
    records: str


def build_usage_links(request: HttpRequest, entry: Any) -> UsageLinks | None:
    """Return the links of an entry; None where usage has no such id, or this person may not see its kind."""
    model = VENDOR_KINDS.get(entry.source.vendor)
    column = find_column(model, entry.kind) if model else None
    if model is None or column is None or not request.user.has_perm(f"usage.view_{model._meta.model_name}"):
        return None
    first, end = get_range(DEFAULT_RANGE, entry.source.zone)
    filters = [("source", entry.source.slug), (column, write_value(entry.vendor_id))]
    is_zoned = model.instant != "day" and entry.source.time_zone != "UTC"
    zone = [("tz", entry.source.time_zone)] if is_zoned else []
    question = [
        ("kind", KIND_NAMES[model]),
        ("from", str(first)),
        ("to", str(end)),
        *zone,
        *filters,
        ("group_by", "day"),
    ]
    records = reverse(f"admin:usage_{model._meta.model_name}_changelist")
    return UsageLinks(
        f"{reverse('admin:explore')}?{urlencode(question, safe=SAFE)}", f"{records}?{urlencode(filters, safe=SAFE)}"
    )


def find_column(model: type[UsageRecord], kind: str) -> str | None:
    """Return the filter by ids of a kind; None where records have none."""
    if model is EnvironmentUsage and kind == NameKind.TEAM:
        return TEAM
    return next((column for column, named_kind in NAMED_COLUMNS[model].items() if named_kind == kind), None)


def find_entries(entries: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Return the entries whose shown name has the text in it, or whose id it is."""
    return entries.filter(build_search(["shown__icontains"], text) | Q(vendor_id=text))


def describe_gone(gone_at: datetime | None) -> str:
    """Return whether the vendor still lists an id, or since when it does not."""
    return f"gone since {format_date(gone_at.date())}" if gone_at else "listed"


GoneFilter = build_choice_filter(
    "gone",
    "at the vendor",
    {"no": ("Listed", Q(gone_at=None)), "yes": ("No longer listed", Q(gone_at__isnull=False))},
    "Listed or gone",
)


@admin.register(DirectoryEntry)
class DirectoryEntryAdmin(ReadOnlyAdmin):
    """The directory: names of people only for people who may see them, by PORTAL_PERSON_NAMES."""

    source_path = "source_id"
    exported = COLUMNS
    list_display = ("get_name", "kind", "get_vendor_id", "source", "get_teams", "get_last_seen", "get_gone")
    list_display_links = ("get_name",)
    list_filter = (SourceListFilter, build_column_filter("kind", "kind", NameKind, "All kinds"), GoneFilter)
    allowed_lookups = ("source", "kind", "gone")
    search_fields = ("vendor_id",)
    search_help_text = "A part of the name, or the whole id."
    ordering = ("kind", "source_id", "vendor_id")
    row_name_plural = "names"
    fields = ("get_name", "kind", "vendor_id", "source", "first_seen_at", "last_seen_at", "gone_at")
    readonly_fields = fields

    get_name = build_list_column("name", lambda entry: str(entry.shown or entry.vendor_id))
    get_vendor_id = build_list_column("id", lambda entry: render_id(entry.vendor_id))
    get_teams = build_list_column("teams", lambda entry: f"{len(entry.team_ids):,}" if entry.team_ids else "")
    get_last_seen = build_list_column("last seen", lambda entry: format_age(entry.last_seen_at))
    get_gone = build_list_column("at the vendor", lambda entry: describe_gone(entry.gone_at))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Add the name as far as this person may see it, and the source without its credential."""
        entries = annotate_shown_names(super().get_queryset(request), get_staff_name_access(request))
        return entries.select_related("source").defer("source__credential", "name", "email", "pseudonym")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the entries with a name or an id; what is not shown is not searched."""
        text = search_term.strip().replace("\0", "")
        return (find_entries(queryset, text) if text else queryset), False

    def get_page_tables(self, request: HttpRequest, obj: Any) -> Sequence[Table]:
        links = build_usage_links(request, obj)
        rows = (("Chart of the last 30 days", links.explore), ("All its records", links.records)) if links else ()
        cells = [[format_html('<a href="{}">{}</a>', url, label)] for label, url in rows]
        tables = [Table("Usage", ["Page"], cells, "Usage is not kept by these ids, or you may not see it.")]
        if obj.kind == NameKind.USER:
            names = find_names({NameKind.TEAM: obj.team_ids}, [obj.source_id], get_staff_name_access(request))
            teams = [
                [names.get(NameKind.TEAM, team_id, obj.source_id) or NOTHING, render_id(team_id)]
                for team_id in obj.team_ids
            ]
            tables.append(Table("Teams", ["Team", "Id"], teams, "In no team."))
        return tables
