"""What days, runs and what went differently than hoped may be asked by."""

from collections import OrderedDict
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django_filters import rest_framework as django_filters

from sync.models import SyncRun, Trigger
from usage.filters import (
    ChoiceFilter,
    ContainsFilter,
    InstantsForm,
    MomentFilter,
    OfSourcesFilter,
    RangeForm,
    WordsFilter,
    ZoneFilter,
)
from usage.models import DayState, RejectedRecord, Restatement, Source, SourceDay, Verification

YES_NO = {"true": True, "false": False}


class DayFilter(django_filters.DateFilter):
    """A calendar day."""

    def __init__(self, **kwargs: Any) -> None:
        messages = {"invalid": "Give a date such as 2026-01-31."}
        super().__init__(input_formats=["%Y-%m-%d"], error_messages=messages, **kwargs)


class SourceFilter(OfSourcesFilter):
    """What sources may be asked by."""

    source_path = "id"
    enabled = ChoiceFilter(*YES_NO, method="of_yes_or_no", help_text="Whether it is read.")
    halted = ChoiceFilter(*YES_NO, method="of_halted", help_text="Whether reading it was stopped, for halt_reason.")

    class Meta:
        model = Source
        fields: tuple[str, ...] = ()

    def of_yes_or_no(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the sources that are switched on, or off."""
        return queryset.filter(**{name: YES_NO[value]})

    def of_halted(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the sources that are halted, or that are not."""
        return queryset.filter(halted_at__isnull=not YES_NO[value])


class DayRangeFilter(django_filters.FilterSet):
    """A half-open range of dates, each in its source's own zone.

    `begins` and `ends`: the path and the look-up that the bounds are held against.
    """

    begins: ClassVar[tuple[str, str]] = ("source_day__day", "gte")
    ends: ClassVar[tuple[str, str]] = ("source_day__day", "lt")

    class Meta:
        form = RangeForm

    @classmethod
    def get_filters(cls) -> OrderedDict[str, django_filters.Filter]:
        """Add the range, whose names no Python class body can hold."""
        (first, since), (last, until) = cls.begins, cls.ends
        bounds: dict[str, django_filters.Filter] = {
            "from": DayFilter(field_name=first, lookup_expr=since, help_text="The first day, in the source's zone."),
            "to": DayFilter(field_name=last, lookup_expr=until, help_text="The day after the last."),
        }
        return OrderedDict(bounds | super().get_filters())


class SourceDayFilter(DayRangeFilter):
    """What the days of one source may be asked by."""

    begins = ("day", "gte")
    ends = ("day", "lt")
    state = WordsFilter(*DayState.values, help_text="Where the day stands in the queue.")
    verification = WordsFilter(*Verification.values, help_text="How it agrees with the vendor's own checksum.")
    complete = ChoiceFilter(*YES_NO, method="of_yes_or_no", help_text="Whether everything of the day is held.")
    final = ChoiceFilter(*YES_NO, method="of_yes_or_no", help_text="Whether it is past the look-back.")
    restated = ChoiceFilter(*YES_NO, method="of_restated", help_text="Whether it ever came back different.")

    class Meta(DayRangeFilter.Meta):
        model = SourceDay
        fields: tuple[str, ...] = ()

    def of_yes_or_no(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the days that are so, or that are not."""
        return queryset.filter(**{name: YES_NO[value]})

    def of_restated(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the days that were restated, or that never were."""
        return queryset.filter(restated_at__isnull=not YES_NO[value])


class SyncRunFilter(DayRangeFilter, OfSourcesFilter):
    """What runs may be asked by; a range finds the runs that read any day of it."""

    begins = ("to_day", "gt")
    ends = ("from_day", "lt")
    trigger = WordsFilter(*Trigger.values, help_text="Who asked for it.")
    finished = ChoiceFilter(*YES_NO, method="of_finished", help_text="Whether it has ended.")
    failed = ChoiceFilter(*YES_NO, method="of_failed", help_text="Whether any of its days failed.")
    cancelled = ChoiceFilter(*YES_NO, method="of_cancelled", help_text="Whether a person gave its waiting days back.")

    class Meta(DayRangeFilter.Meta):
        model = SyncRun
        fields: tuple[str, ...] = ()

    def of_finished(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the runs that have ended, or that have not."""
        return queryset.filter(finished_at__isnull=not YES_NO[value])

    def of_failed(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the runs with failed days, or those without."""
        failed = Q(days_failed__gt=0)
        return queryset.filter(failed if YES_NO[value] else ~failed)

    def of_cancelled(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the runs that were cancelled, or that were not."""
        return queryset.filter(cancelled_at__isnull=not YES_NO[value])


class UpdatedSinceForm(InstantsForm):
    """Checks a range of days beside one instant."""

    instants = ("updated_since",)


class RestatementFilter(DayRangeFilter, OfSourcesFilter):
    """What restatements may be asked by."""

    source_path = "source_day__source_id"
    tz = ZoneFilter(help_text="The zone that a date in updated_since is of. Default: UTC.")
    updated_since = MomentFilter(field_name="at", lookup_expr="gte", help_text="Only what was restated at or after.")

    class Meta:
        model = Restatement
        fields: tuple[str, ...] = ()
        form = UpdatedSinceForm


class RejectedRecordFilter(DayRangeFilter, OfSourcesFilter):
    """What rejected records may be asked by."""

    begins = ("day", "gte")
    ends = ("day", "lt")
    reason__contains = ContainsFilter("reason", "icontains")  # as its index has it
    resolved = ChoiceFilter(*YES_NO, method="of_resolved", help_text="Whether a later read no longer met it.")

    class Meta(DayRangeFilter.Meta):
        model = RejectedRecord
        fields: tuple[str, ...] = ()

    def of_resolved(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Keep the records that have been resolved, or that have not."""
        return queryset.filter(resolved_at__isnull=not YES_NO[value])
