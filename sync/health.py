"""How a source does, in one fixed word and one sentence: what a person or a monitor asks first."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import TextChoices

from usage.coverage import Coverage
from usage.days import Day
from usage.models import Source

# A day is complete once it was read after its end: until the reading after that it is no arrear.
LONGEST_DAY = timedelta(hours=25)
MISSED_READS = 2


class Health(TextChoices):
    """The words, the most pressing reason first: of several that hold, the first is said."""

    DISABLED = "disabled"
    HALTED = "halted"
    PAUSED = "paused"
    NEVER_READ = "never_read"
    FAILING = "failing"
    BEHIND = "behind"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a source does at one instant.

    `lag`: how long ago the instant is up to which everything is held without a gap.
    """

    source: Source
    coverage: Coverage
    now: datetime

    @property
    def lag(self) -> timedelta:
        """Time since the end of the last day of the unbroken complete history, or since its first day began."""
        through = self.coverage.complete_through
        zone = self.source.zone
        reached = Day.of(through, zone).end if through else Day.of(self.source.backfill_from, zone).start
        return max(self.now - reached, timedelta(0))

    @property
    def late(self) -> bool:
        """Whether readings were missed, or days that have long ended are not complete."""
        between = timedelta(minutes=self.source.interval_minutes) * MISSED_READS
        latest = self.coverage.latest_read
        return self.lag > LONGEST_DAY + between or latest is None or self.now - latest > between

    @property
    def health(self) -> Health:
        """The word."""
        source, paused_until = self.source, self.source.paused_until
        holds = {
            Health.DISABLED: not source.enabled,
            Health.HALTED: source.halted_at is not None,
            Health.PAUSED: paused_until is not None and paused_until > self.now,
            Health.NEVER_READ: not self.coverage.held,
            Health.FAILING: self.coverage.failed > 0 or source.failures > 0,
            Health.BEHIND: self.late,
        }
        return next((word for word, true in holds.items() if true), Health.OK)

    @property
    def words(self) -> str:
        """The sentence: why it is not read or not well, then how far it is read."""
        return " ".join(filter(None, (self.why, self.coverage.words)))

    @property
    def why(self) -> str:
        """What stands against the source; nothing where it is well."""
        source = self.source
        match self.health:
            case Health.DISABLED:
                return "Switched off: nothing is read."
            case Health.HALTED:
                return f"Halted: {source.halt_reason}"
            case Health.PAUSED:
                return f"Paused until {source.paused_until:%Y-%m-%d %H:%M} UTC, because day after day failed."
            case Health.FAILING:
                return "Failing: the latest reads did not succeed; they are tried again."
            case Health.BEHIND:
                return "Behind: reads were missed, or days that have ended are not complete."
        return ""
