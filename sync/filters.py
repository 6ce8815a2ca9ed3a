"""The filters of sources, source days, runs, restatements and rejected records."""

from collections import OrderedDict
from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as django_filters

from sync.models import Subject, SyncRun, Trigger
from usage.api.filters import (
    BooleanChoiceFilter,
    ChoicesFilter,
    ContainsFilter,
    InstantsForm,
    MomentFilter,
    PresenceFilter,
    RangeForm,
    SourceRelatedFilterSet,
    ZoneFilter,
)
from usage.models import DayState, RejectedRecord, Restatement, Source, SourceDay, Verification


class DayFilter(django_filters.DateFilter):
    """A calendar day."""

    def __init__(self, **kwargs: Any) -> None:
        messages = {"invalid": "Give a date such as 2026-01-31."}
        super().__init__(input_formats=["%Y-%m-%d"], error_messages=messages, **kwargs)


class SourceFilterSet(SourceRelatedFilterSet):
    """Filters of sources."""

    source_path = "id"
    enabled = BooleanChoiceFilter(help_text="Whether it is synced.")
    halted = PresenceFilter("halted_at", help_text="Whether it is halted, for halt_reason.")

    class Meta:
        model = Source
        fields: tuple[str, ...] = ()


class DayRangeFilterSet(django_filters.FilterSet):
    """A half-open range of dates, each in its source's own zone.

    `begins` and `ends`: the ORM path and the lookup of each bound.
    """

    begins: ClassVar[tuple[str, str]] = ("source_day__day", "gte")
    ends: ClassVar[tuple[str, str]] = ("source_day__day", "lt")

    class Meta:
        form = RangeForm

    @classmethod
    def get_filters(cls) -> OrderedDict[str, django_filters.Filter]:
        """Add `from` and `to`: `from` cannot be a name in a class body."""
        (first, since), (last, until) = cls.begins, cls.ends
        bounds: dict[str, django_filters.Filter] = {
            "from": DayFilter(field_name=first, lookup_expr=since, help_text="The first day, in the source's zone."),
            "to": DayFilter(field_name=last, lookup_expr=until, help_text="The day after the last."),
        }
        return OrderedDict(bounds | super().get_filters())


class SourceDayFilterSet(DayRangeFilterSet):
    """Filters of the days of one source."""

    begins = ("day", "gte")
    ends = ("day", "lt")
    state = ChoicesFilter(*DayState.values, help_text="The state of the day in the queue.")
    verification = ChoicesFilter(*Verification.values, help_text="Whether it agrees with the vendor's own checksum.")
    complete = BooleanChoiceFilter(help_text="Whether the portal has everything of the day.")
    final = BooleanChoiceFilter(help_text="Whether it is final.")
    restated = PresenceFilter("restated_at", help_text="Whether it ever came back different.")
    accepted = PresenceFilter("accepted_at", help_text="Whether a person accepted its findings.")
    mismatched = PresenceFilter("mismatch", help_text="Whether the check of stored records found it different.")
    pruned = PresenceFilter("pruned_at", help_text="Whether its records were dropped for their age.")
    archived = PresenceFilter("archived_at", help_text="Whether its records are in the lake alone.")

    class Meta(DayRangeFilterSet.Meta):
        model = SourceDay
        fields: tuple[str, ...] = ()


class SyncRunFilterSet(DayRangeFilterSet, SourceRelatedFilterSet):
    """Filters of runs; a range selects the runs that read any day of it."""

    begins = ("to_day", "gt")
    ends = ("from_day", "lt")
    subject = ChoicesFilter(*Subject.values, help_text="What it reads.")
    trigger = ChoicesFilter(*Trigger.values, help_text="What started it.")
    finished = PresenceFilter("finished_at", help_text="Whether it has ended.")
    failed = BooleanChoiceFilter(method="filter_failed", help_text="Whether any of its days failed.")
    cancelled = PresenceFilter("cancelled_at", help_text="Whether a person cancelled its waiting days.")

    class Meta(DayRangeFilterSet.Meta):
        model = SyncRun
        fields: tuple[str, ...] = ()

    def filter_failed(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the runs with failed days, or those without."""
        return queryset.filter(days_failed__gt=0) if value == "true" else queryset.filter(days_failed=0)


class UpdatedSinceForm(InstantsForm):
    """Validates a range of days and one instant."""

    instants = ("updated_since",)


class RestatementFilterSet(DayRangeFilterSet, SourceRelatedFilterSet):
    """Filters of restatements."""

    source_path = "source_day__source_id"
    tz = ZoneFilter(help_text="The zone that a date in updated_since is of. Default: UTC.")
    updated_since = MomentFilter(field_name="at", lookup_expr="gte", help_text="Only what was restated at or after.")

    class Meta:
        model = Restatement
        fields: tuple[str, ...] = ()
        form = UpdatedSinceForm


class RejectedRecordFilterSet(DayRangeFilterSet, SourceRelatedFilterSet):
    """Filters of rejected records."""

    begins = ("day", "gte")
    ends = ("day", "lt")
    reason__contains = ContainsFilter("reason", "icontains")  # as its index has it
    resolved = PresenceFilter("resolved_at", help_text="Whether a later read no longer had it.")

    class Meta(DayRangeFilterSet.Meta):
        model = RejectedRecord
        fields: tuple[str, ...] = ()
