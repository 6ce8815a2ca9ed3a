"""Source days: what is held of each, how far it can be trusted, and reading it again."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sync.admin import states
from sync.admin.actions import ask, may_sync, who
from sync.engine import plan
from sync.models import COUNTED, Trigger
from sync.serializers import SourceDaySerializer
from usage.admin.base import PageAction, ReadOnlyAdmin
from usage.admin.display import NOTHING, Table, at, exact, laid_out, prose, quantity
from usage.admin.filters import RangeFilter, SourceFilter, one_of
from usage.columns import columns_of
from usage.coverage import trust_in_words
from usage.models import DayState, SourceDay, Verification

LATEST = 20


@admin.register(SourceDay)
class SourceDayAdmin(ReadOnlyAdmin):
    """Days of the sources, the latest first."""

    source_path = "source_id"
    exported = columns_of(SourceDaySerializer)
    list_display = (
        "day_shown",
        "source",
        "state_shown",
        "complete",
        "final",
        "verified",
        "records_held",
        "rejected_number",
        "sums_shown",
        "read_at",
        "error_shown",
    )
    list_filter = (
        SourceFilter,
        one_of("state", "state", DayState),
        one_of("verification", "verification", Verification),
        ("day", RangeFilter),
    )
    offered_lookups = ("source", "state", "verification", "day__range__gte", "day__range__lte")
    keyset = ("day", "source_id")
    actions = ("read_again", "accept")
    fieldsets = (
        (
            "What is held",
            {
                "fields": (
                    "source",
                    "day",
                    ("starts_at", "ends_at"),
                    "state_shown",
                    ("complete", "final"),
                    "verified",
                    "records_held",
                    "withdrawn_number",
                    "rejected_number",
                    "sums_shown",
                    "loaded_at",
                    "covered_until",
                    "restated_at",
                )
            },
        ),
        (
            "Reading",
            {
                "fields": (
                    "due_at",
                    "attempt",
                    "failures",
                    "leased_by",
                    "lease_expires_at",
                    "error",
                    "suspicion_shown",
                    "shrink_accepted",
                    "differences_shown",
                )
            },
        ),
    )
    readonly_fields = tuple(
        name
        for _, section in fieldsets
        for line in section["fields"]
        for name in ((line,) if isinstance(line, str) else line)
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the source along, without the credential."""
        return super().get_queryset(request).select_related("source").defer("source__credential")

    def has_sync_permission(self, request: HttpRequest) -> bool:
        """Tell Django whether the list's actions are offered."""
        return may_sync(request)

    @admin.action(description="Read again", permissions=["sync"])
    def read_again(self, request: HttpRequest, days: QuerySet[SourceDay]) -> None:
        """Have the chosen days read again."""
        ask(request, lambda: plan.reread(days, Trigger.ADMIN, who(request)))

    @admin.action(description="Accept what the vendor reports (suspect days)", permissions=["sync"])
    def accept(self, request: HttpRequest, days: QuerySet[SourceDay]) -> None:
        """Take the vendor's word for the suspect days among the chosen."""
        suspect = days.filter(state=DayState.SUSPECT)
        if not suspect:
            messages.error(request, "None of the chosen days is suspect; there is nothing to accept.")
        for day in suspect:
            self.accept_one(request, day)

    def read_one_again(self, request: HttpRequest, day: SourceDay) -> None:
        """Have one day read again."""
        ask(request, lambda: plan.reread([day], Trigger.ADMIN, who(request)))

    def accept_one(self, request: HttpRequest, day: SourceDay) -> None:
        """Take the vendor's word for one suspect day."""
        ask(request, lambda: plan.accept_shrink(day, who(request)))

    def page_actions(self, request: HttpRequest, obj: SourceDay) -> Sequence[PageAction]:
        """Reading again, and for a suspect day accepting."""
        if not may_sync(request):
            return ()
        again = PageAction("read-again", "Read again", self.read_one_again)
        if obj.state != DayState.SUSPECT:
            return (again,)
        explains = "The next read is kept as it comes, however many records vanish by it."
        return again, PageAction("accept", "Accept what the vendor reports", self.accept_one, explains)

    def page_words(self, request: HttpRequest, obj: SourceDay) -> str:
        """How far the day can be trusted."""
        return trust_in_words(obj)

    def page_tables(self, request: HttpRequest, obj: SourceDay) -> Sequence[Table]:
        """The latest attempts, restatements and rejected records."""
        return attempts_of(obj), restatements_of(obj), rejected_of(obj)

    @admin.display(description="day")
    def day_shown(self, day: SourceDay) -> str:
        """The date in the source's zone."""
        return f"{day.day:%Y-%m-%d}"

    @admin.display(description="state")
    def state_shown(self, day: SourceDay) -> SafeString:
        """Where it stands."""
        return states.day_state(day)

    @admin.display(description="verified")
    def verified(self, day: SourceDay) -> SafeString | str:
        """Whether it agrees with the vendor's checksum."""
        return states.day_verification(day) or NOTHING

    @admin.display(description="records")
    def records_held(self, day: SourceDay) -> SafeString:
        """Current records."""
        return quantity(day.records)

    @admin.display(description="withdrawn records")
    def withdrawn_number(self, day: SourceDay) -> SafeString:
        """Records the vendor no longer reports."""
        return quantity(day.withdrawn)

    @admin.display(description="rejected")
    def rejected_number(self, day: SourceDay) -> SafeString:
        """Records that could not be kept."""
        return quantity(day.rejected)

    @admin.display(description="sums")
    def sums_shown(self, day: SourceDay) -> str:
        """The sums by measure or unit."""
        return sums_in_words(day.sums)

    @admin.display(description="read at (UTC)")
    def read_at(self, day: SourceDay) -> str:
        """When what is held was last read."""
        return at(day.loaded_at)

    @admin.display(description="error")
    def error_shown(self, day: SourceDay) -> SafeString | str:
        """Why the last read failed."""
        return format_html('<span class="error-text" title="{0}">{0}</span>', day.error) if day.error else ""

    @admin.display(description="what a guarded read would have changed")
    def suspicion_shown(self, day: SourceDay) -> SafeString | str:
        """The counts that made the guard hold."""
        return laid_out(day.suspicion)

    @admin.display(description="differences from the vendor's checksum")
    def differences_shown(self, day: SourceDay) -> SafeString | str:
        """What does not add up."""
        return laid_out(day.differences)


def sums_in_words(sums: dict[str, str]) -> str:
    """Return a day's sums as `12,345.5 minutes · 17 GB`; a measure's name stands for its unit."""
    return " · ".join(f"{exact(Decimal(number))} {name.replace('_', ' ')}" for name, number in sums.items())


def attempts_of(day: SourceDay) -> Table:
    """Return the latest attempts to read a day."""
    columns = ("#", "began (UTC)", "ended (UTC)", "outcome", "error", *COUNTED, "worker")
    rows = [
        [
            attempt.number,
            at(attempt.started_at),
            at(attempt.finished_at),
            states.attempt_outcome(attempt),
            prose(attempt.error),
            *(quantity(getattr(attempt, name)) for name in COUNTED),
            attempt.worker,
        ]
        for attempt in day.attempts.all()[:LATEST]
    ]
    return Table("Attempts", columns, rows, "It was never tried.")


def restatements_of(day: SourceDay) -> Table:
    """Return the latest restatements of a day."""
    columns = (
        "at (UTC)",
        "records before",
        "after",
        "inserted",
        "changed",
        "withdrawn",
        "returned",
        "sums before",
        "after",
    )
    rows = [
        [
            at(one.at),
            *(quantity(number) for number in (one.records_before, one.records_after)),
            *(quantity(number) for number in (one.inserted, one.changed, one.withdrawn, one.returned)),
            sums_in_words(one.sums_before),
            sums_in_words(one.sums_after),
        ]
        for one in day.restatements.all()[:LATEST]
    ]
    return Table("Restatements", columns, rows, "It never came back different.")


def rejected_of(day: SourceDay) -> Table:
    """Return the latest rejected records of a day."""
    rows = [
        [
            at(record.last_seen_at),
            prose(record.reason),
            at(record.resolved_at),
            prose(record.payload[:200]),
        ]
        for record in day.rejected_records.all()[:LATEST]
    ]
    return Table("Rejected records", ("last seen (UTC)", "reason", "resolved (UTC)", "payload"), rows)
