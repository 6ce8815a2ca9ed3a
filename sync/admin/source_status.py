"""What the page of a source shows beside its settings: why it is not synced, counts of its days, vendor defaults."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from sync.admin.forms import get_option_field_name, list_offered_vendors
from sync.engine.names import has_directory
from sync.messages import get_advice
from sync.sources import list_options
from sync.vendors import readers
from usage.data_quality.coverage import Coverage
from usage.formatting import NOTHING, format_age, format_count, format_date, format_instant, format_number
from usage.models import Directory, DirectoryEntry, Source

Fieldsets = list[tuple[str | None, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class SourceNotice:
    """Why a source is not synced, and what to do about it."""

    title: str
    message: str
    advice: str = ""
    tone: str = "warn"


def build_notice(source: Source) -> SourceNotice | None:
    """Return why a source is not synced; None where it is."""
    if source.retired_after:
        message = (
            "Nothing is synced and its credential is deleted. The stored records stay, and no later day is missing."
        )
        return SourceNotice(f"Retired: {format_date(source.retired_after)} is its last day.", message)
    if source.halted_at:
        title = f"Halted since {format_instant(source.halted_at)}."
        return SourceNotice(title, source.halt_reason, get_advice(source.halt_code), tone="bad")
    if not source.enabled:
        return SourceNotice("Switched off.", "Nothing is synced. The stored records stay.")
    if source.paused_until and source.paused_until > timezone.now():
        title = f"Paused until {format_instant(source.paused_until)}."
        return SourceNotice(title, "Several syncs in a row failed. The source resumes automatically.")
    return None


@dataclass(frozen=True, slots=True)
class DirectoryStatus:
    """How the names of a source were last read: a sentence, what the vendor refused, and why the last read failed."""

    summary: str
    refused: list[tuple[str, str]]
    error: str
    advice: str


def build_directory_status(source: Source) -> DirectoryStatus | None:
    """Return how the names of a source were last read; None where its vendor has none."""
    if not has_directory(source):
        return None
    directory = Directory.objects.filter(source=source).first()
    if directory is None:
        return DirectoryStatus("Names were not read yet.", [], "", "")
    entries = DirectoryEntry.objects.filter(source=source)
    total, gone_count = entries.count(), entries.filter(gone_at__isnull=False).count()
    summary = f"{format_count(total, 'name')}, last read {format_age(directory.read_at)}." if directory.read_at else ""
    if gone_count:
        summary += f" {format_count(gone_count, 'name')} no longer at the vendor."
    refused = sorted(directory.refused.items())
    return DirectoryStatus(summary, refused, directory.error, get_advice(directory.error_code))


def build_option_fieldsets(source: Source) -> Fieldsets:
    """Return a section for the options of every vendor that has some and that the source may be of."""
    options_by_vendor = {vendor: list_options(readers()[vendor]) for vendor in list_offered_vendors(source)}
    return [
        (
            f"{readers()[vendor].title} options",
            {
                "fields": tuple(get_option_field_name(vendor, option.name) for option in options),
                "classes": ("vendor-options", f"vendor-{vendor}"),
            },
        )
        for vendor, options in options_by_vendor.items()
        if options
    ]


def build_vendor_defaults() -> dict[str, dict[str, Any]]:
    """Return each vendor's defaults of fields that are left empty."""
    return {
        name: {"base_url": reader.base_url, "time_zone": reader.time_zone, "rate": reader.requests_per_minute}
        for name, reader in readers().items()
    }


def count_days(request: HttpRequest, coverage: Coverage, source: Source) -> list[tuple[str, str, str]]:
    """Return counts of a source's days, each with the address of the list of them where there are any."""
    days_url = f"{reverse('admin:usage_sourceday_changelist')}?source={source.slug}"
    can_list = request.user.has_perm("usage.view_sourceday")
    counts = [
        ("days synced", coverage.held, ""),
        ("provisional", coverage.provisional, ""),
        ("waiting", coverage.waiting, "&state=due"),
        ("being synced", coverage.loading, "&state=loading"),
        ("failed", coverage.failed, "&state=failed"),
        ("suspect", coverage.suspect, "&state=suspect"),
        ("partial", coverage.partial, "&state=partial"),
        ("unverified", coverage.unverified, "&verification=unverified"),
    ]
    through = coverage.complete_through
    return [
        ("complete through", format_date(through) if through else NOTHING, ""),
        ("records stored", format_number(coverage.records_held), ""),
        *(
            (label, format_number(number), days_url + params if can_list and number and params else "")
            for label, number, params in counts
        ),
    ]
