"""What a day is worth, for someone from finance: its state in words, what that means, and what to do."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.utils import timezone

from sync.admin.coverage.letters import long
from sync.engine.plan import today
from sync.health import Condition
from usage.admin.display import exact
from usage.coverage import Coverage
from usage.models import Source, SourceDay


@dataclass(frozen=True, slots=True)
class Verdict:
    """The words of one day: `title` is its state, `means` what that says of its numbers, `todo` what to do.

    `tone` is good, busy, warn, bad or plain. `reason` is what went wrong, as the last attempt or the source says.
    """

    tone: str
    title: str
    means: str
    todo: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What a verdict is passed on: a day of a source, and its row where there is one."""

    source: Source
    on: date
    day: SourceDay | None

    @property
    def row(self) -> SourceDay:
        """The row; only asked for by the letters of days that have one."""
        assert self.day is not None  # noqa: S101
        return self.day

    @property
    def held(self) -> str:
        """What counts until the day is read well."""
        if self.row.loaded_at is None:
            return "Nothing of this day is held: its usage is missing from every sum."
        return f"What was read {moment(self.row.loaded_at)} is still held and counted: {records(self.row.records)}."

    @property
    def next_try(self) -> str:
        """When the portal reads the day again by itself."""
        if self.reason_not_read:
            return "It is not read again before that is mended."
        if self.row.due_at <= timezone.now():
            return "It is tried again by itself within minutes."
        return f"It is tried again by itself {moment(self.row.due_at)}."

    @property
    def reason_not_read(self) -> str:
        """Why the source as a whole is not read; '' where it is."""
        return blocked(self.source)


def complete(case: Case) -> Verdict:
    """Read after its end, final; the vendor gives no checksum."""
    return Verdict(
        "good",
        "Complete and final",
        f"All {records(case.row.records)} of this day are held. The vendor gives no sums of its own to compare with.",
        "Nothing to do.",
    )


def verified(case: Case) -> Verdict:
    """As complete, and it agrees with the vendor's checksum."""
    return Verdict(
        "good",
        "Complete, verified and final",
        f"All {records(case.row.records)} of this day are held, and their sums agree with the vendor's own.",
        "Nothing to do.",
    )


def empty(_case: Case) -> Verdict:
    """Read after its end, and the vendor reported nothing."""
    return Verdict(
        "good",
        "Complete: nothing was used",
        "The day was read after its end, and the vendor reported no usage at all.",
        "Nothing to do, unless you know that something was used that day.",
    )


def provisional(case: Case) -> Verdict:
    """Complete, and inside the look-back."""
    until = case.row.ends_at + timedelta(days=case.source.look_back_days)
    agrees = " Their sums agree with the vendor's own." if case.row.verification == "verified" else ""
    return Verdict(
        "good",
        "Complete, still provisional",
        f"All {records(case.row.records)} that the vendor reports so far are held.{agrees} It may still correct them.",
        f"Nothing to do. The day is read again by itself and is final after {moment(until)}.",
    )


def unfinished(case: Case) -> Verdict:
    """Read, but before its end."""
    reached = f"up to {moment(case.row.covered_until)}" if case.row.covered_until else "a part of the day"
    if case.on >= today(case.source):
        title, means = "Not over yet", f"What was used {reached} is held: {records(case.row.records)}."
    else:
        title, means = "Not read to its end", f"Only what was used {reached} is held: {records(case.row.records)}."
    return Verdict("busy", title, means, f"Nothing to do. {case.next_try}", case.reason_not_read)


def begun(case: Case) -> Verdict:
    """Today, before its first read."""
    means = "The day has begun and nothing of it is held yet."
    return Verdict("busy", "Not read yet", means, "Nothing to do. It is read by itself.", case.reason_not_read)


def unverified(case: Case) -> Verdict:
    """Read to its end, and it differs from the vendor's checksum."""
    return Verdict(
        "warn",
        "Differs from the vendor's own sums",
        f"The {records(case.row.records)} were kept as the vendor lists them, but its own totals say something else.",
        "Read the day again. Where the difference stays, show the vendor the differences below.",
    )


def partial(case: Case) -> Verdict:
    """Some records were rejected."""
    number = case.row.rejected
    return Verdict(
        "warn",
        f"Partial: {exact(number)} {'record' if number == 1 else 'records'} could not be kept",
        f"{records(case.row.records)} of this day are held and counted. One that could not be kept counts "
        "as an earlier read had it, or not at all.",
        f"See the rejected records below and tell whoever looks after the portal. {case.next_try}",
    )


def suspect(case: Case) -> Verdict:
    """The guard held a read back."""
    return Verdict(
        "warn",
        "Suspect: the vendor suddenly reports much less",
        "The last read would have withdrawn most of the day: the numbers are below. What was held before still counts.",
        "If the vendor is right, accept what it reports. Otherwise wait: a second read that agrees decides. "
        + case.next_try,
    )


def failed(case: Case) -> Verdict:
    """The last read failed."""
    return Verdict(
        "bad", "The last read failed", case.held, case.next_try, case.row.error or case.reason_not_read or "Not told."
    )


def loading(_case: Case) -> Verdict:
    """A worker reads it."""
    return Verdict("busy", "Being read now", "A worker reads this day at this moment.", "Wait a little and look again.")


def waiting(case: Case) -> Verdict:
    """It has a row and was never read."""
    what = f"Nothing to do. {case.next_try}" if not case.reason_not_read else "Mend that, and it is read by itself."
    return Verdict(
        "warn",
        "Never read, waiting",
        "Nothing of this day is held: its usage is missing from every sum.",
        what,
        case.row.error or case.reason_not_read,
    )


def missing(case: Case) -> Verdict:
    """It is to be held and there is no row of it."""
    return Verdict(
        "warn",
        "Never read",
        "Nothing of this day is held: its usage is missing from every sum.",
        "It is read by itself once the source is; whoever may sync can have it read now.",
        case.reason_not_read or "The source has not been read since this day became one of those to hold.",
    )


def before(case: Case) -> Verdict:
    """It lies before the first day to hold."""
    return Verdict(
        "plain",
        "Not held",
        f"This source is held from {long(case.source.backfill_from)} on. Sums do not hold what was used before.",
        "Nothing to do. Whoever may sync can have it read nevertheless.",
    )


def ahead(_case: Case) -> Verdict:
    """It has not begun."""
    return Verdict("plain", "Has not begun", "This day lies in the future.", "Nothing to do.")


VERDICTS: Final[dict[str, Callable[[Case], Verdict]]] = {
    "v": verified,
    "c": complete,
    "e": empty,
    "q": provisional,
    "p": provisional,
    "o": unfinished,
    "t": begun,
    "u": unverified,
    "h": partial,
    "s": suspect,
    "f": failed,
    "l": loading,
    "w": waiting,
    "m": missing,
    "b": before,
    "a": ahead,
}


def verdict(source: Source, on: date, letter: str, day: SourceDay | None) -> Verdict:
    """Return the words of a day; `letter` as in `letters`, `day` its row where there is one."""
    return VERDICTS[letter.lower()](Case(source, on, day))


def why(source: Source, letter: str, error: str) -> str:
    """Return why a day is a gap, in a sentence or two: the last attempt's error, or why the source is not read."""
    reasons = {
        "h": "Some of its records could not be kept.",
        "s": "The vendor suddenly reported much less; nothing was changed.",
        "u": "The sums of what was read differ from the vendor's own.",
        "w": "It waits to be read for the first time.",
        "m": "The source has not been read since.",
    }
    return error or blocked(source) or reasons.get(letter, "No reason is known.")


def blocked(source: Source) -> str:
    """Return why a source is not read at all: switched off, halted or paused; '' where it is read."""
    return Condition(source, Coverage(), timezone.now()).why


def moment(instant: datetime) -> str:
    """Return an instant as `on 20 Nov 2026 at 14:05 UTC`."""
    return f"on {instant.day} {instant:%b %Y} at {instant:%H:%M} UTC"


def records(number: int) -> str:
    """Return `1 record` or `1,204 records`."""
    return f"{number:,} record" if number == 1 else f"{number:,} records"
