"""Source days: what is held of each, how far it can be trusted, and reading it again."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sync.admin import states
from sync.admin.actions import ask, may_sync, who
from sync.admin.coverage.panel import Panel
from sync.engine import plan
from sync.models import Trigger
from sync.serializers import SourceDaySerializer
from usage.admin.base import PageAction, ReadOnlyAdmin
from usage.admin.display import NOTHING, at, laid_out, quantity, rounded
from usage.admin.filters import RangeFilter, SourceFilter, one_of
from usage.admin.sums import counted
from usage.columns import columns_of
from usage.models import DayState, SourceDay, Verification

MOST_SUMS = 3


@admin.register(SourceDay)
class SourceDayAdmin(ReadOnlyAdmin):
    """Days of the sources, the latest first."""

    change_form_template = "admin/coverage/day_page.html"
    source_path = "source_id"
    exported = columns_of(SourceDaySerializer)
    list_display = (
        "day_shown",
        "source",
        "state_shown",
        "trust",
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
    readonly_fields = (
        "state_shown",
        "due_at",
        "failures",
        "leased_by",
        "lease_expires_at",
        "shrink_accepted",
        "suspicion_shown",
        "differences_shown",
        "digest",
    )
    fieldsets = (("For whoever looks after the portal", {"fields": readonly_fields, "classes": ("collapse",)}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch the source along, without the credential."""
        return super().get_queryset(request).select_related("source").defer("source__credential")

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Say first what the day is worth, in the words of the calendar."""
        context["panel"] = Panel.of(request, obj.source, obj.day)
        return super().render_change_form(request, context, add, change, form_url, obj)

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
        """Reading again, and for a suspect day accepting; the buttons are those of the calendar's panel."""
        if not may_sync(request):
            return ()
        again = PageAction("read-again", "Read again", self.read_one_again)
        if obj.state != DayState.SUSPECT:
            return (again,)
        return again, PageAction("accept", "Accept what the vendor reports", self.accept_one)

    @admin.display(description="day")
    def day_shown(self, day: SourceDay) -> str:
        """The date in the source's zone."""
        return f"{day.day:%Y-%m-%d}"

    @admin.display(description="state")
    def state_shown(self, day: SourceDay) -> SafeString:
        """Where it stands."""
        return states.day_state(day)

    @admin.display(description="what is held")
    def trust(self, day: SourceDay) -> str:
        """Whether it is complete and final."""
        if day.loaded_at is None:
            return "nothing yet"
        if not day.complete:
            return "a part"
        restated = ", restated" if day.restated_at else ""
        return f"complete, {'final' if day.final else 'provisional'}{restated}"

    @admin.display(description="vendor's sums")
    def verified(self, day: SourceDay) -> SafeString | str:
        """Whether it agrees with the vendor's checksum."""
        return states.day_verification(day) or NOTHING

    @admin.display(description="records")
    def records_held(self, day: SourceDay) -> SafeString:
        """Current records."""
        return quantity(day.records)

    @admin.display(description="rejected")
    def rejected_number(self, day: SourceDay) -> SafeString:
        """Records that could not be kept."""
        return quantity(day.rejected)

    @admin.display(description="sums")
    def sums_shown(self, day: SourceDay) -> SafeString | str:
        """The sums by measure or unit; the day's page has all their digits."""
        return sums_in_words(day.sums)

    @admin.display(description="read at (UTC)")
    def read_at(self, day: SourceDay) -> str:
        """When what is held was last read."""
        return at(day.loaded_at)

    @admin.display(description="why")
    def error_shown(self, day: SourceDay) -> SafeString | str:
        """Why the last read failed."""
        return format_html('<span class="prose">{}</span>', day.error) if day.error else ""

    @admin.display(description="what a guarded read would have changed")
    def suspicion_shown(self, day: SourceDay) -> SafeString | str:
        """The counts that made the guard hold, with the digest that a second read has to meet."""
        return laid_out(day.suspicion)

    @admin.display(description="differences, as they were found")
    def differences_shown(self, day: SourceDay) -> SafeString | str:
        """What does not add up."""
        return laid_out(day.differences)


def sums_in_words(sums: dict[str, str]) -> SafeString | str:
    """Return the first of a day's sums and how many more there are: `1,440.5 minutes · 17 GB · 3 jobs failed +5`."""
    if not sums:
        return ""
    told = [f"{rounded(Decimal(number))} {counted(name)}" for name, number in sums.items()]
    shown = format_html_join(" · ", '<span class="unbroken">{}</span>', ((one,) for one in told[:MOST_SUMS]))
    rest = told[MOST_SUMS:]
    more = format_html(' <span class="quiet" title="{}">+{}</span>', " · ".join(rest), len(rest)) if rest else ""
    return format_html('<span class="prose">{}{}</span>', shown, more)
