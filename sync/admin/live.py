"""Runs as they go: the part of a page that asks for itself again every other second until they have ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django_htmx.http import HttpResponseClientRefresh

from sync.admin import states
from sync.admin.actions import may_sync
from sync.advice import advice
from sync.models import SyncRun
from sync.progress import Progress, in_words, progress_of
from usage.coverage import days_in_words
from usage.models import Source

SHOWN_AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class Watched:
    """One run as the page shows it."""

    progress: Progress
    may_cancel: bool

    @property
    def run(self) -> SyncRun:
        """The run."""
        return self.progress.run

    @property
    def address(self) -> str:
        """Its page."""
        return reverse("admin:sync_syncrun_change", args=[self.run.pk])

    @property
    def cancels_at(self) -> str:
        """Where the button that cancels it posts to."""
        return reverse("admin:sync_syncrun_do", args=[self.run.pk, "cancel"])

    @property
    def state(self) -> SafeString:
        """Whether it goes on, and how it ended."""
        return states.run_state(self.run)

    @property
    def days(self) -> str:
        """The days it spans."""
        return self.run.days_in_words

    @property
    def numbers(self) -> str:
        """How far it is, in one line: `12 of 30 days · 48,210 records · 3,100 a second · about 2 minutes left`."""
        progress, run = self.progress, self.run
        said = [f"{progress.days_ended:,} of {days_in_words(run.days_total)}", f"{progress.records:,} records"]
        if progress.per_second:
            said.append(f"{rounded(progress.per_second)} a second")
        if progress.ended:
            said.append(f"took {in_words(progress.took)}")
        elif progress.left is not None:
            said.append(f"{in_words(progress.left)} left")
        return " · ".join(said)

    @property
    def trouble(self) -> str:
        """How many of its days failed and why the latest did; '' where none has."""
        run = self.run
        if not run.days_failed:
            return ""
        return f"{days_in_words(run.days_failed)} failed. {run.error}"

    @property
    def advice(self) -> str:
        """What a person can do about that."""
        return advice(self.run.error)

    @property
    def aloud(self) -> str:
        """What a screen reader says of it."""
        if not self.progress.ended:
            return f"Reading {self.days}: {self.numbers}."
        how = "cancelled" if self.run.cancelled_at else "with failures" if self.run.days_failed else "done"
        return f"Reading {self.days} has ended, {how}: {self.numbers}."


@dataclass(frozen=True, slots=True)
class Live:
    """The runs that a page shows, where it asks for them again, and what is new enough to be said aloud.

    `page`: the page around them, whose other facts are fetched again once a run has ended.
    """

    runs: Sequence[Watched]
    address: str
    page: str
    aloud: str = ""
    refresh: bool = False

    @property
    def going(self) -> bool:
        """Whether any of them goes on."""
        return any(not one.progress.ended for one in self.runs)


def live(request: HttpRequest, runs: Iterable[SyncRun], address: str, page: str) -> Live:
    """Return how far runs are; `said` in the request is what was said aloud before, which is not said again."""
    allowed = may_sync(request)
    watched = [
        Watched(progress_of(run), allowed and run.finished_at is None and run.cancelled_at is None) for run in runs
    ]
    before = request.GET.get("said")
    told = ".".join(f"{one.run.pk}-{one.progress.quarter}" for one in watched)
    query = urlencode({"runs": ",".join(str(one.run.pk) for one in watched), "said": told})
    aloud = " ".join(one.aloud for one in watched) if before not in (None, told) else ""
    ended = all(one.progress.ended for one in watched)
    return Live(watched, f"{address}?{query}", page, aloud, refresh=ended and before is not None)


def fragment(request: HttpRequest, shown: Live) -> HttpResponse:
    """Return the part of the page alone."""
    return TemplateResponse(request, "admin/sources/progress.html", {"live": shown})


def open_runs(source: Source, also: Iterable[int] = ()) -> list[SyncRun]:
    """Return the runs of a source that wait for days, the newest first, and those of `also`, ended or not."""
    going = source.runs.filter(finished_at=None)
    runs = list((going | source.runs.filter(pk__in=list(also))).order_by("-created_at", "-id")[:SHOWN_AT_ONCE])
    for run in runs:
        run.source = source
    return runs


def asked_for(request: HttpRequest) -> list[int]:
    """Return the keys of the runs that a page showed before."""
    return [int(key) for key in request.GET.get("runs", "").split(",")[:SHOWN_AT_ONCE] if key.isdecimal()]


def signed_out(admin: Any, request: HttpRequest) -> HttpResponse | None:
    """Return what makes a page that asks by itself load anew, and so sign in, where nobody is signed in any more."""
    return None if admin.admin_site.has_permission(request) else HttpResponseClientRefresh()


def rounded(per_second: float) -> str:
    """Return a pace to what is worth saying: `0.4`, `12`, `3,100`."""
    if per_second < 10:
        return f"{per_second:.1f}"
    whole = round(per_second)
    return f"{round(whole, 2 - len(str(whole))):,}"
