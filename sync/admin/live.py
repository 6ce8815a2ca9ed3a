"""The progress of runs: the part of a page that reloads itself every two seconds until they have ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django_htmx.http import HttpResponseClientRefresh

from sync.admin.actions import has_sync_permission
from sync.admin.badges import build_run_badge
from sync.messages import get_advice
from sync.models import Subject, SyncRun
from sync.progress import Progress, measure_progress
from usage.formatting import format_count, format_rate, format_remaining
from usage.models import Source

MAX_RUNS = 5


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run as the page shows it."""

    progress: Progress
    can_cancel: bool

    @property
    def run(self) -> SyncRun:
        return self.progress.run

    @property
    def badge(self) -> SafeString:
        return build_run_badge(self.run)

    @property
    def numbers(self) -> str:
        """Its progress in one line: `12 of 30 days · 48,210 records · 3,100 a second · about 2 minutes left`."""
        progress = self.progress
        if self.run.subject == Subject.NAMES:
            parts = [format_count(progress.records, "name")]
        else:
            days = f"{progress.days_ended:,} of {format_count(self.run.days_total, 'day')}"
            parts = [days, f"{progress.records:,} records"]
        if progress.per_second:
            parts.append(f"{format_rate(progress.per_second)} a second")
        if progress.ended:
            parts.append(f"took {format_remaining(progress.took)}")
        elif progress.left is not None:
            parts.append(f"{format_remaining(progress.left)} left")
        return " · ".join(parts)

    @property
    def failure(self) -> str:
        """How many of its days failed and why the latest did; '' where none has."""
        run = self.run
        if run.days_failed and run.subject == Subject.NAMES:
            return f"The names could not be read. {run.error}"
        return f"{format_count(run.days_failed, 'day')} failed. {run.error}" if run.days_failed else ""

    @property
    def advice(self) -> str:
        """What a person can do about the failure."""
        return get_advice(self.run.error_code)

    @property
    def announcement(self) -> str:
        """What a screen reader announces."""
        if not self.progress.ended:
            return f"Syncing {self.run.days_label}: {self.numbers}."
        outcome = "cancelled" if self.run.cancelled_at else "with failures" if self.run.days_failed else "done"
        return f"Sync of {self.run.days_label} has ended, {outcome}: {self.numbers}."


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """The runs that a page shows, the address to reload them from, and the new announcement.

    `page`: the page around them, whose other facts are reloaded once the runs have ended.
    """

    runs: Sequence[RunStatus]
    url: str
    page: str
    announcement: str = ""
    refresh: bool = False

    @property
    def is_running(self) -> bool:
        """Whether any of them goes on."""
        return any(not run.progress.ended for run in self.runs)


def build_progress(request: HttpRequest, runs: Iterable[SyncRun], url: str, page: str) -> LiveProgress:
    """Return the progress of runs; the parameter `said` is what was announced before and is not repeated."""
    can_sync = has_sync_permission(request)
    statuses = [
        RunStatus(measure_progress(run), can_sync and run.finished_at is None and run.cancelled_at is None)
        for run in runs
    ]
    announced_before = request.GET.get("said")
    announced = ".".join(f"{status.run.pk}-{status.progress.quarter}" for status in statuses)
    query = urlencode({"runs": ",".join(str(status.run.pk) for status in statuses), "said": announced})
    is_new = announced_before not in (None, announced)
    announcement = " ".join(status.announcement for status in statuses) if is_new else ""
    ended = all(status.progress.ended for status in statuses)
    return LiveProgress(statuses, f"{url}?{query}", page, announcement, refresh=ended and announced_before is not None)


def list_open_runs(source: Source, shown: Iterable[int] = ()) -> list[SyncRun]:
    """Return the runs of a source that wait for days, the newest first, and those that the page showed before."""
    running = source.runs.filter(finished_at=None)
    runs = list((running | source.runs.filter(pk__in=list(shown))).order_by("-created_at", "-id")[:MAX_RUNS])
    for run in runs:
        run.source = source
    return runs


def parse_shown_runs(request: HttpRequest) -> list[int]:
    """Return the keys of the runs that a page showed before."""
    return [int(key) for key in request.GET.get("runs", "").split(",")[:MAX_RUNS] if key.isdecimal()]


def show_progress(admin: Any, request: HttpRequest, pk: int) -> HttpResponse:
    """Return the part of a row's page alone; without a session, reload the page, which leads to the sign-in."""
    if not admin.admin_site.has_permission(request):
        return HttpResponseClientRefresh()
    row = get_object_or_404(admin.get_queryset(request), pk=pk)
    if not admin.has_view_permission(request, row):
        raise PermissionDenied
    return TemplateResponse(request, "admin/sources/progress.html", {"live": admin.build_progress(request, row)})
