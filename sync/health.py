"""The health of a source, as one fixed word and one sentence, for people and monitors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import TextChoices

from usage.data_quality.coverage import Coverage
from usage.days import Day
from usage.formatting import format_count, format_date
from usage.models import Source

# A day is complete once it was read after its end, so a source is not behind before its next read.
LONGEST_DAY = timedelta(hours=25)
MISSED_READS = 2
NAMED_DAYS = 5


class Health(TextChoices):
    """What is most urgent about a source, the most urgent first."""

    RETIRED = "retired"
    DISABLED = "disabled"
    HALTED = "halted"
    PAUSED = "paused"
    NEVER_READ = "never_read"
    FAILING = "failing"
    MISMATCHED = "mismatched"
    SUSPECT = "suspect"
    UNVERIFIED = "unverified"
    PARTIAL = "partial"
    BEHIND = "behind"
    OK = "ok"


FINDINGS = frozenset({Health.MISMATCHED, Health.SUSPECT, Health.UNVERIFIED, Health.PARTIAL})


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of a source at one instant, from which its health follows."""

    source: Source
    coverage: Coverage
    now: datetime

    @property
    def lag(self) -> timedelta:
        """Time since the end of the complete history without a gap, or since the source's first day began."""
        return self.measure_lag(self.coverage.complete_through)

    def measure_lag(self, through: date | None) -> timedelta:
        """Return the time since the end of the day `through`, or since the source's first day began."""
        zone = self.source.zone
        reached = Day.of(through, zone).end if through else Day.of(self.source.backfill_from, zone).start
        return max(self.now - reached, timedelta(0))

    @property
    def late(self) -> bool:
        """Whether reads were missed, or days that have long ended are neither complete nor accepted."""
        between = timedelta(minutes=self.source.interval_minutes) * MISSED_READS
        latest = self.coverage.latest_read
        lag = self.measure_lag(self.coverage.accounted_through)
        return lag > LONGEST_DAY + between or latest is None or self.now - latest > between

    @property
    def health(self) -> Health:
        """The first of the healths that apply."""
        source = self.source
        applies = {
            Health.RETIRED: source.retired_after is not None,
            Health.DISABLED: not source.enabled,
            Health.HALTED: source.halted_at is not None,
            Health.PAUSED: source.is_paused(self.now),
            Health.NEVER_READ: not self.coverage.held,
            Health.FAILING: self.coverage.failed > 0 or source.failures > 0,
            Health.MISMATCHED: bool(self.coverage.lasting_mismatched),
            Health.SUSPECT: bool(self.coverage.lasting_suspect),
            Health.UNVERIFIED: bool(self.coverage.lasting_unverified),
            Health.PARTIAL: bool(self.coverage.lasting_partial),
            Health.BEHIND: self.late,
        }
        return next((health for health, is_true in applies.items() if is_true), Health.OK)

    @property
    def description(self) -> str:
        """What is wrong with the source, then how far it is synced."""
        return " ".join(filter(None, (self.problem, self.coverage.description)))

    @property
    def problem(self) -> str:
        """What is wrong with the source; "" where it is healthy."""
        source = self.source
        match self.health:
            case Health.RETIRED | Health.DISABLED:
                return describe_switched_off(source)
            case Health.HALTED:
                return f"Halted: {source.halt_reason}"
            case Health.PAUSED:
                return f"Paused until {source.paused_until:%Y-%m-%d %H:%M} UTC, because day after day failed."
            case Health.FAILING:
                return "Failing: the latest syncs failed; they are tried again."
            case Health.BEHIND:
                return "Behind: syncs were missed, or days that have ended are not complete."
        return " ".join(self.describe_findings()) if self.health in FINDINGS else ""

    def describe_findings(self) -> Iterator[str]:
        """Yield a sentence with its days for each kind of finding that counts against the source."""
        coverage = self.coverage
        if days := coverage.lasting_mismatched:
            yield f"Mismatched: the check of stored records found {name_days(days)} different; they are synced again."
        if days := coverage.lasting_suspect:
            yield f"Suspect: a read would take away too much of {name_days(days)}."
        if days := coverage.lasting_unverified:
            verb = "does" if len(days) == 1 else "do"
            yield f"Unverified: {name_days(days)} {verb} not agree with the vendor's totals."
        if days := coverage.lasting_partial:
            yield f"Partial: records of {name_days(days)} were rejected."


def describe_switched_off(source: Source) -> str:
    """Return why nothing is synced: the source is retired, or only switched off."""
    if source.retired_after is not None:
        return f"Retired: nothing is expected after {format_date(source.retired_after)}."
    return "Switched off: nothing is synced."


def name_days(days: Sequence[date]) -> str:
    """Return the latest days, e.g. `3 Nov 2026, 4 Nov 2026 and 2 earlier days`."""
    dates = ", ".join(map(format_date, days[-NAMED_DAYS:]))
    earlier = len(days) - NAMED_DAYS
    return dates if earlier <= 0 else f"{dates} and {format_count(earlier, 'earlier day')}"
