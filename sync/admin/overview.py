"""The first page: every source, how far it can be trusted, and what needs a person."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from sync.admin import states
from sync.vendors import readers
from usage.access import in_staff_scope
from usage.admin.display import ago, exact
from usage.coverage import Coverage, coverage_of
from usage.models import Source


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One source on the first page."""

    source: Source
    vendor: str
    state: SafeString
    coverage: Coverage
    records: str
    last_read: str
    url: str
    troubles: tuple[tuple[str, str], ...]


def overview(request: HttpRequest) -> list[SourceLine] | None:
    """Return a line for every source that this person may know of, in three queries, and one for their scope.

    None for someone who may not see sources.
    """
    if not request.user.has_perm("usage.view_source"):
        return None
    sources = list(in_staff_scope(Source.objects.defer("credential"), request, "id"))
    covered = coverage_of(sources)
    return [source_line(source, covered[source.pk]) for source in sources]


def source_line(source: Source, coverage: Coverage) -> SourceLine:
    """Return the line of one source."""
    reader = readers().get(source.vendor)
    days = f"{reverse('admin:usage_sourceday_changelist')}?source={source.slug}&state="
    counts = {"failed": coverage.failed, "suspect": coverage.suspect, "partial": coverage.partial}
    troubles = tuple((f"{number:,} {state}", days + state) for state, number in counts.items() if number)
    return SourceLine(
        source=source,
        vendor=reader.title if reader else source.vendor,
        state=states.source_state(source),
        coverage=coverage,
        records=exact(coverage.records_held),
        last_read=ago(coverage.latest_read),
        url=reverse("admin:usage_source_change", args=[source.pk]),
        troubles=troubles,
    )
