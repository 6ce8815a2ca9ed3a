"""Restatements: days that came back different, newest first."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from usage.admin.base import ReadOnlyAdmin
from usage.admin.display import Table, build_list_column, render_number
from usage.admin.filters import RangeListFilter, SourceOfDayListFilter
from usage.admin.restatement_diff import compare_sums, describe_affected, render_differences
from usage.columns import build_columns
from usage.formatting import format_signed, format_timestamp
from usage.models import Restatement


class RestatedFilter(RangeListFilter):
    """When the corrected day was read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "restated"


def render_day_link(restatement: Restatement) -> SafeString:
    """Return the day of a restatement as a link to its page."""
    url = reverse("admin:usage_sourceday_change", args=[restatement.source_day_id])
    return format_html('<a href="{}">{}</a>', url, restatement.source_day.day.isoformat())


@admin.register(Restatement)
class RestatementAdmin(ReadOnlyAdmin):
    """What changed on a day that had been loaded before."""

    source_path = "source_day__source_id"
    exported = build_columns(
        Restatement,
        "id",
        source="source_day__source__slug",
        day="source_day__day",
        at="at",
        attempt="attempt",
        records_before="records_before",
        records_after="records_after",
        inserted="inserted",
        changed="changed",
        withdrawn="withdrawn",
        returned="returned",
        moved="moved",
        sums_before="sums_before",
        sums_after="sums_after",
    )
    list_display = ("restated", "source", "day", "difference", "records_affected")
    list_filter = (SourceOfDayListFilter, ("source_day__day", RangeListFilter), ("at", RestatedFilter))
    allowed_lookups = (
        "source",
        "source_day__day__range__gte",
        "source_day__day__range__lte",
        "at__range__gte",
        "at__range__lte",
    )
    keyset = ("at", "id")
    fields = ("day", "restated", "attempt", "records_affected")
    readonly_fields = (*fields, "date")

    restated = build_list_column("restated at (UTC)", lambda restatement: format_timestamp(restatement.at))
    source = build_list_column("source", lambda restatement: str(restatement.source_day.source))
    day = build_list_column("day", render_day_link)
    date = build_list_column("day", lambda restatement: restatement.source_day.day.isoformat())
    difference = build_list_column("difference", lambda restatement: render_differences(compare_sums(restatement)))
    records_affected = build_list_column("records affected", describe_affected)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the day and its source along, without the credential."""
        rows = super().get_queryset(request)
        return rows.select_related("source_day__source").defer("source_day__source__credential")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return get_visible_names(request, self.list_display)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return get_visible_names(request, self.fields)

    def get_page_summary(self, request: HttpRequest, obj: Restatement) -> str:
        return (
            "The vendor corrected this day after it had been read to its end. Whatever was taken from the portal "
            f"before {format_timestamp(obj.at)} UTC still has the old numbers."
        )

    def get_page_tables(self, request: HttpRequest, obj: Restatement) -> Sequence[Table]:
        rows = [
            (
                change.name,
                render_number(change.before),
                render_number(change.after),
                render_number(format_signed(change.difference)),
                render_number(change.share),
            )
            for change in compare_sums(obj)
        ]
        return (Table("What changed", ("measure or unit", "before", "after", "difference", "share"), rows),)


def get_visible_names(request: HttpRequest, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, with the day as a link for people who may see days, else as a date."""
    may_open = request.user.has_perm("usage.view_sourceday")
    return tuple("date" if name == "day" and not may_open else name for name in names)
