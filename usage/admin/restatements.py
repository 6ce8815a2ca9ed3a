"""Restatements: days that came back different, newest first."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from usage.admin.base import ReadOnlyAdmin
from usage.admin.display import laid_out, quantity
from usage.admin.filters import RangeFilter, SourceOfDayFilter
from usage.models import Restatement


@admin.register(Restatement)
class RestatementAdmin(ReadOnlyAdmin):
    """What changed on a day that had been loaded before."""

    source_path = "source_day__source_id"
    keyset = ("at", "id")
    list_display = ("day", "at", "before", "after", "added", "altered", "gone", "back")
    list_filter = (SourceOfDayFilter, ("at", RangeFilter))
    offered_lookups = ("source", "at__range__gte", "at__range__lte")
    fields = (
        "source_day",
        "at",
        "attempt",
        "before",
        "after",
        "added",
        "altered",
        "gone",
        "back",
        "moved",
        "sums",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the day and its source along, without the credential."""
        rows = super().get_queryset(request)
        return rows.select_related("source_day__source").defer("source_day__source__credential")

    @admin.display(description="day")
    def day(self, restatement: Restatement) -> str:
        """The source day."""
        return str(restatement.source_day)

    @admin.display(description="records before")
    def before(self, restatement: Restatement) -> SafeString:
        """Records held before."""
        return quantity(restatement.records_before)

    @admin.display(description="records after")
    def after(self, restatement: Restatement) -> SafeString:
        """Records held after."""
        return quantity(restatement.records_after)

    @admin.display(description="inserted")
    def added(self, restatement: Restatement) -> SafeString:
        """Records that are new."""
        return quantity(restatement.inserted)

    @admin.display(description="changed")
    def altered(self, restatement: Restatement) -> SafeString:
        """Records that differ."""
        return quantity(restatement.changed)

    @admin.display(description="withdrawn")
    def gone(self, restatement: Restatement) -> SafeString:
        """Records the vendor no longer reports."""
        return quantity(restatement.withdrawn)

    @admin.display(description="returned")
    def back(self, restatement: Restatement) -> SafeString:
        """Records that had been withdrawn and are reported again."""
        return quantity(restatement.returned)

    @admin.display(description="sums")
    def sums(self, restatement: Restatement) -> SafeString | str:
        """The day's sums, before and after."""
        return laid_out({"before": restatement.sums_before, "after": restatement.sums_after})
