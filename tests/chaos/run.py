"""One chaos run: the plan carried out, invariants checked meanwhile, and every record compared in the end."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import DataError, Error, connection, transaction
from django.db.models import Q

from portal.accounts.models import Scope, create_token
from sync.engine.plan import accept_shrink, reread, resume
from sync.errors import SyncError
from sync.models import SyncRunDay, Trigger
from tests.chaos.invariants import check_all, find_stuck
from tests.chaos.oracle import Oracle
from tests.chaos.plan import DAYS, FAULTS_EVERY, VENDORS, Event
from tests.chaos.programs import Programs
from tests.chaos.responses import ResponseChecker
from tests.support.api_clients import is_ready
from tests.support.sandbox_process import SandboxProcess
from tests.support.vendor_readers import build_sandbox_url
from tests.support.vendor_truth import describe_difference, read_stored, read_truth
from usage.models import DayState, Source, SourceDay, Verification

START_SECONDS = 300.0
SETTLE_SECONDS = 240.0
LEAST_FAULTS = 30
PERSON_EVERY = 1.6  # seconds between two looks of a person who resumes sources
CREDENTIAL = "sandbox-key"


@dataclass
class Findings:
    """The events and the violations of a run."""

    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    unreachable: int = 0
    answers_compared: int = 0
    records_compared: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, lines: list[str]) -> None:
        """Add violations, each sentence once."""
        self.violations += [line for line in lines if line not in self.violations]

    def __str__(self) -> str:
        """Return the report."""
        lines = [
            f"requests: {self.requests:,}",
            f"faults by kind: {format_counts(self.faults)}",
            f"kills: {format_counts(self.kills)}",
            f"checks of the whole database: {self.checks:,} ({self.unreachable:,} while it was away)",
            f"answers of the web server: {format_counts(self.statuses)}; compared: {self.answers_compared:,}",
            f"records compared: {self.records_compared:,}",
            f"violations: {len(self.violations)}",
            *(f"  {line}" for line in self.violations[:50]),
        ]
        return "\n".join(lines)


def format_counts(counts: Counter[str]) -> str:
    """Return counts as text, in the order of their names."""
    total = f"{sum(counts.values()):,}"
    return f"{total} ({', '.join(f'{name} {count}' for name, count in sorted(counts.items()))})" if counts else "0"


@dataclass
class Run:
    """The state of one run."""

    sandbox: SandboxProcess
    oracle: Oracle
    programs: Programs
    seed: int
    today: date = field(default_factory=lambda: datetime.now(UTC).date())
    findings: Findings = field(default_factory=Findings)
    faulty_since: float = 0.0

    def __post_init__(self) -> None:
        self.sources = [self.create_source(vendor, number) for vendor in VENDORS for number in (1, 2)]
        for days_ago in range(DAYS):
            self.oracle.remember(self.today - timedelta(days=days_ago))
        _, token = create_token("chaos", [Scope.USAGE_READ])
        self.checker = ResponseChecker(f"http://127.0.0.1:{self.programs.port}", token, random.Random(self.seed))

    def create_source(self, vendor: str, number: int) -> Source:
        """Create one of a vendor's sources."""
        source: Source = Source.objects.create(
            slug=f"{vendor}-{number}",
            vendor=vendor,
            base_url=build_sandbox_url(vendor, self.sandbox.url),
            credential=CREDENTIAL,
            backfill_from=self.today - timedelta(days=DAYS - 1),
            interval_minutes=1,
            max_concurrency=2,
        )
        return source

    def wait_for_start(self) -> None:
        """Wait until web, worker and beat work; raises RuntimeError with what they wrote where they do not."""
        deadline = time.monotonic() + START_SECONDS
        while not (is_ready(self.programs.port) and self.sandbox.get("stats")["requests"]):
            if time.monotonic() > deadline:
                written = {name: process.output()[-2000:] for name, process in self.programs.running.items()}
                raise RuntimeError(f"The portal did not start: {written}")
            time.sleep(0.2)

    def carry_out(self, plan: list[Event], seconds: float) -> None:
        """Let everything go wrong in its time, and check meanwhile."""
        begin = time.monotonic()
        person = begin + PERSON_EVERY
        wakeups: list[tuple[float, str]] = []
        events = list(plan)
        # A busy machine carries the whole plan out all the same, only later, and meets as many faults.
        while (now := time.monotonic() - begin) < seconds or events or self.has_met_too_little(now, seconds):
            while events and events[0].at <= now and self.may_apply(events[0]):
                event = events.pop(0)
                self.apply(event)
                if event.seconds:
                    wakeups.append((now + event.seconds, event.action.removeprefix("stop ")))
            for at, name in [wakeup for wakeup in wakeups if wakeup[0] <= now]:
                self.programs.resume(name)
                wakeups.remove((at, name))
            self.programs.keep_running()
            if "postgres" not in self.programs.stopped:
                if time.monotonic() > person:
                    self.attempt(lambda: self.act_as_person(first=None))
                    person = time.monotonic() + PERSON_EVERY
                self.check()
            time.sleep(0.2)

    def may_apply(self, event: Event) -> bool:
        """Return whether an event may be carried out now."""
        if event.action == "edit":
            # What it changes is read from the database first, which would wait for ever while that is stopped.
            return "postgres" not in self.programs.stopped
        # On a busy machine several may be late: each strikes for a while.
        return event.action != "faults" or time.monotonic() - self.faulty_since > FAULTS_EVERY / 2

    def has_met_too_little(self, now: float, seconds: float) -> bool:
        """Return whether so few faults have struck that the last ones stay a while longer."""
        return now < 3 * seconds and sum(self.sandbox.get("stats")["faults"].values()) < LEAST_FAULTS

    def apply(self, event: Event) -> None:
        """Carry one event out."""
        print(event, flush=True)
        verb, _, target = event.action.partition(" ")
        if event.action == "faults":
            self.sandbox.post("faults/clear")
            self.sandbox.post("faults", **dict(event.faults))
            self.faulty_since = time.monotonic()
            self.oracle.grown |= "growth" in dict(event.faults)
        elif event.action == "edit":
            self.edit(event.vendor, self.today - timedelta(days=event.days_ago), dict(event.edit))
        elif verb == "kill":
            self.programs.kill(target)
        else:
            self.programs.stop(target)

    def edit(self, vendor: str, on: date, edit: dict[str, Any]) -> None:
        """Restate a day at the vendor; the oracle knows of it before the portal can."""
        self.oracle.edit(vendor, on, edit)
        self.sandbox.post("edits", vendor=vendor, day=str(on), **edit)

    def check(self) -> None:
        """Check the whole database and one day's answers, unless the database is away."""
        self.attempt(lambda: self.findings.add(check_all(self.oracle)))
        # Nobody lets a stopped web server go on while its answer is waited for.
        if "web" not in self.programs.stopped:
            self.attempt(lambda: self.findings.add(self.checker.check_day()))
        self.findings.checks += 1

    def attempt(self, step: Callable[[], None]) -> None:
        """Do something with the database; where it is away, count that and let go of the connection."""
        try:
            step()
        except DataError as error:
            self.findings.add([f"a stored row cannot be read: {error}"])
        except Error:
            self.findings.unreachable += 1
            connection.close()

    def act_as_person(self, first: datetime | None) -> None:
        """Resume what is halted or paused, and ask for every day; from `first` on, for those not read well since."""
        Source.objects.filter(Q(failures__gt=0) | ~Q(paused_until=None)).update(failures=0, paused_until=None)
        for source in Source.objects.exclude(halted_at=None):
            resume(source)
        days = SourceDay.objects.all() if first is None else find_unsettled(first)
        for day in days.filter(state=DayState.SUSPECT) if first is not None else ():
            accept(day)
        idle_days = days.exclude(state=DayState.LOADING).exclude(run_days__outcome=SyncRunDay.Outcome.WAITING)
        day_ids = list(idle_days.values_list("pk", flat=True))
        try:
            reread(SourceDay.objects.filter(pk__in=day_ids).select_related("source"), Trigger.ADMIN, "chaos")
        except SyncError:
            return  # Halted again in between; the next look resumes it.

    def settle(self) -> None:
        """Let the faults cease, wait until every day is read anew, and compare every record."""
        self.sandbox.post("faults/clear")
        self.programs.resume_all()
        cleared_at = datetime.now(UTC)
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self.programs.keep_running()
            self.attempt(lambda: self.act_as_person(cleared_at))
            self.check()
            if not find_unsettled(cleared_at).exists():
                break
            time.sleep(PERSON_EVERY)
        self.attempt(lambda: self.findings.add(describe_unsettled(cleared_at)))
        self.attempt(lambda: self.findings.add(find_stuck()))

    def compare(self) -> None:
        """Compare every record of every day with the vendor's, column by column."""
        for day in SourceDay.objects.select_related("source").only("day", "source"):
            truth = read_truth(day.source, day.day)
            self.findings.records_compared += len(truth)
            difference = describe_difference(str(day), truth, read_stored(day.source, day.day))
            self.findings.add([difference] if difference else [])

    def finish(self) -> Findings:
        """Return the findings with all that was counted."""
        stats = self.sandbox.get("stats")
        findings = self.findings
        findings.requests = stats["requests"]
        for name, number in stats["faults"].items():
            findings.faults[name.partition(".")[2]] += number
        findings.kills, findings.statuses = self.programs.kills, self.checker.statuses
        findings.answers_compared = self.checker.compared
        client_errors = [status for status in self.checker.statuses if status.startswith("4")]
        findings.add([f"a question was refused with {status}" for status in client_errors])
        return findings


def find_unsettled(since: datetime) -> Any:
    """Return the days that were not synced completely since an instant."""
    synced = Q(loaded_at__gt=since, state__in=[DayState.LOADED, DayState.DUE], rejected=0, error="")
    return SourceDay.objects.exclude(synced & ~Q(verification=Verification.UNVERIFIED))


def describe_unsettled(since: datetime) -> list[str]:
    """Return a sentence for every day that was not synced completely since an instant."""
    days = find_unsettled(since).select_related("source")
    return [f"{day} is not read well: {day.state} {day.error} {day.differences}" for day in days]


def accept(day: SourceDay) -> None:
    """Accept a suspect day, unless it was read meanwhile."""
    try:
        with transaction.atomic():
            accept_shrink(day, "chaos")
    except SyncError:
        return
