"""What the page of a source says beside its settings: why it stands still, how its days stand, what is prescribed."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from sync.admin.forms import option_name, vendors_offered
from sync.advice import advice
from sync.sources import options_of
from sync.vendors import readers
from usage.admin.display import NOTHING, at, exact
from usage.coverage import Coverage
from usage.models import Source

Fieldsets = list[tuple[str | None, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Standstill:
    """Why a source is not read, in words, and what to do about it."""

    title: str
    words: str
    advice: str = ""
    tone: str = "warn"


def standstill(source: Source) -> Standstill | None:
    """Return why a source is not read; None where it is."""
    if source.halted_at:
        return Standstill(
            f"Halted since {at(source.halted_at)} UTC.", source.halt_reason, advice(source.halt_reason), tone="bad"
        )
    if not source.enabled:
        return Standstill("Switched off.", "Nothing is read; what is held stays.")
    if source.paused_until and source.paused_until > timezone.now():
        until = f"Paused until {source.paused_until:%Y-%m-%d %H:%M} UTC."
        return Standstill(until, "Day after day failed, so the vendor is left alone for a while. It goes on by itself.")
    return None


def option_fieldsets(source: Source) -> Fieldsets:
    """Return a section for the own options of every vendor that has some and that the source may be of."""
    offered = {vendor: options_of(readers()[vendor]) for vendor in vendors_offered(source)}
    return [
        (
            f"{readers()[vendor].title}'s own settings",
            {
                "fields": tuple(option_name(vendor, option.name) for option in options),
                "classes": ("vendor-options", f"vendor-{vendor}"),
            },
        )
        for vendor, options in offered.items()
        if options
    ]


def vendor_facts() -> dict[str, dict[str, Any]]:
    """Return what each vendor prescribes for fields that are left empty."""
    return {
        name: {"base_url": reader.base_url, "time_zone": reader.time_zone, "rate": reader.requests_per_minute}
        for name, reader in readers().items()
    }


def coverage_address(request: HttpRequest, source: Source) -> str:
    """Return the address of the calendar of a source's days; '' for someone who may not see days."""
    if not request.user.has_perm("usage.view_sourceday"):
        return ""
    return f"{reverse('admin:coverage')}?source={source.slug}"


def runs_address(request: HttpRequest, source: Source) -> str:
    """Return the address of the list of a source's runs; '' for someone who may not see runs."""
    may_see = request.user.has_perm("sync.view_syncrun")
    return f"{reverse('admin:sync_syncrun_changelist')}?source={source.slug}" if may_see else ""


def day_counts(request: HttpRequest, coverage: Coverage, source: Source) -> list[tuple[str, str, str]]:
    """Return counts of a source's days, each with the address of the list of them where there are any."""
    listed = f"{reverse('admin:usage_sourceday_changelist')}?source={source.slug}"
    may_list = request.user.has_perm("usage.view_sourceday")
    counts = [
        ("days read", coverage.held, ""),
        ("provisional", coverage.provisional, ""),
        ("waiting", coverage.waiting, "&state=due"),
        ("being read", coverage.loading, "&state=loading"),
        ("failed", coverage.failed, "&state=failed"),
        ("suspect", coverage.suspect, "&state=suspect"),
        ("partial", coverage.partial, "&state=partial"),
        ("unverified", coverage.unverified, "&verification=unverified"),
    ]
    through = coverage.complete_through
    return [
        ("complete through", f"{through}" if through else NOTHING, ""),
        ("records held", exact(coverage.records_held), ""),
        *(
            (label, exact(number), listed + asked if may_list and number and asked else "")
            for label, number, asked in counts
        ),
    ]
