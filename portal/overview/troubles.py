"""What is wrong with sources, a line each: those that are not read, and days that failed or cannot be trusted.

The troubled days of all sources are found in one query and what waits too long in another, however many there are.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db.models import Case, Count, F, Q, Sum, TextField, Value, When, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils import timezone

from portal.overview.needs import Need, Rights, Way, listed, mending
from sync.health import MISSED_READS, Condition, Health
from sync.vendors import readers
from usage.admin.display import ago, exact
from usage.coverage import TROUBLES, days_in_words
from usage.models import DayState, Source, SourceDay, Verification

# Whatever is due is taken within a tick, which is a minute, as long as anything reads at all.
OVERDUE: Final = timedelta(minutes=10)
# As many suspect days of one source are shown one by one; the others are in the list that is linked to.
NAMED: Final = 3
UNVERIFIED: Final = "unverified"

Days = Mapping[tuple[int, str], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Lot:
    """The latest days of a source in one trouble, and what this person may do about them and look at."""

    source: Source
    days: Sequence[Any]
    may_read: bool
    see_rejected: bool

    @property
    def latest(self) -> Any:
        """The latest day; it knows the `number` of all of them."""
        return self.days[0]


def of_sources(conditions: Sequence[Condition], rights: Rights) -> list[Need]:
    """Return what is wrong with the sources, the worst first; sources that were switched off are left in peace."""
    running = [one for one in conditions if one.source.enabled]
    standing_still = nothing_reads(running)
    days = troubled([one.source for one in running]) if rights.see_days else {}
    needs = [need for one in running for need in of_source(one, days, rights, alone=not standing_still)]
    return [*standing_still, *sorted(needs, key=lambda need: need.tone != "bad")]


def troubled(sources: Sequence[Source]) -> Days:
    """Return by source and trouble the latest NAMED days in it; each knows the `number` and all their `refused`.

    A day that is due again is not in trouble any more: it is about to be read.
    """
    within = [F("source_id"), F("trouble")]
    found: Any = (
        SourceDay.objects.filter(source__in=sources)
        .filter(Q(state__in=TROUBLES) | Q(state=DayState.LOADED, verification=Verification.UNVERIFIED))
        .annotate(
            trouble=Case(
                When(state=DayState.LOADED, then=Value(UNVERIFIED)), default=F("state"), output_field=TextField()
            )
        )
        .annotate(
            place=Window(RowNumber(), partition_by=within, order_by=F("day").desc()),
            number=Window(Count("pk"), partition_by=within),
            refused=Window(Sum("rejected"), partition_by=within),
        )
        .filter(place__lte=NAMED)
        .order_by("source_id", "-day")
    )
    days: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for day in found:
        days[day.source_id, day.trouble].append(day)
    return days


def nothing_reads(running: Sequence[Condition]) -> list[Need]:
    """Return the line that says that no worker or no schedule is at work, where everything points to that."""
    now = timezone.now()
    due = [one.source for one in running if not one.source.halted_at and not paused(one.source, now)]
    if not due:
        return []
    long_ago = now - OVERDUE
    waiting = Q(state=DayState.DUE, due_at__lt=long_ago) | Q(state=DayState.LOADING, lease_expires_at__lt=long_ago)
    counted = SourceDay.objects.filter(source__in=due).aggregate(
        waiting=Count("pk", filter=waiting),
        alive=Count("pk", filter=Q(state=DayState.LOADING, lease_expires_at__gte=long_ago)),
    )
    missed = [source.slug for source in due if source.next_sync_at and source.next_sync_at < long_ago]
    lately = any(one.coverage.latest_read and one.coverage.latest_read > long_ago for one in running)
    if counted["alive"] or lately or not (counted["waiting"] or missed):
        return []
    said = "Nothing is being read, though it is time. "
    if counted["waiting"]:
        waits = "has waited" if counted["waiting"] == 1 else "have waited"
        said = f"Nothing is being read: {days_in_words(counted['waiting'])} {waits} for more than 10 minutes. "
    return [
        Need(
            tone="bad",
            state="Standing still",
            about="Reading",
            words=f"{said.strip()}",
            detail="Either no worker is running, or the schedule (Celery beat) is not. Whoever runs the portal has to "
            "start them again; nothing is lost meanwhile.",
        )
    ]


def paused(source: Source, now: datetime) -> bool:
    """Tell whether a source is left alone for a while."""
    return source.paused_until is not None and source.paused_until > now


def of_source(condition: Condition, days: Days, rights: Rights, *, alone: bool) -> Iterator[Need]:
    """Yield what is wrong with one source; `alone`: others are read, so that it says something if this one is not."""
    source = condition.source
    if source.vendor not in readers():
        yield of_whole(source, "bad", "No reader", f"There is no reader of the vendor “{source.vendor}” any more.")
        return
    stands = standstill(condition, rights, alone=alone)
    if stands:
        yield stands
    # A halted source reads nothing, and a paused one has a button of its own that reads all of this too.
    may_read = rights.sync and condition.health not in (Health.HALTED, Health.PAUSED)
    for trouble, said in LINES.items():
        found = days.get((source.pk, trouble), ())
        if found:
            yield from said(Lot(source, found, may_read, rights.see_rejected))


def of_whole(source: Source, tone: str, state: str, words: str, detail: str = "", *buttons: Way) -> Need:
    """Return a line about a source as a whole."""
    return Need(tone, state, source.slug, words, detail, source_url(source), buttons)


def standstill(condition: Condition, rights: Rights, *, alone: bool) -> Need | None:
    """Return why a source is not read as it should be; None where it is, or is catching up."""
    source, coverage = condition.source, condition.coverage
    now = [mending("read-now", source.pk, "Read now")] if rights.sync else []
    match condition.health:
        case Health.HALTED:
            resume = [mending("resume", source.pk, "Resume")] if rights.change_source else []
            words = f"Nothing has been read since {moment(source.halted_at)}."
            return of_whole(source, "bad", "Halted", words, f"{source.halt_reason} Mend that first.", *resume)
        case Health.PAUSED:
            words = f"It is left alone until {moment(source.paused_until)}, because day after day failed."
            return of_whole(source, "warn", "Paused", words, "It goes on by itself then.", *now)
        case Health.NEVER_READ if alone and source.created_at < condition.now - OVERDUE and not coverage.troubled:
            return of_whole(source, "warn", "Never read", "Nothing was read yet.", "", *now)
        case Health.BEHIND if alone and missed(condition):
            words = f"It was last read {ago(coverage.latest_read)}, though it is to be read {often(source)}."
            return of_whole(source, "warn", "Behind", words, "", *now)
    return None


def missed(condition: Condition) -> bool:
    """Tell whether reads were missed; as long as there are some, days that lack are on their way or have a line."""
    between = timedelta(minutes=condition.source.interval_minutes) * MISSED_READS
    latest = condition.coverage.latest_read
    return not condition.coverage.loading and (latest is None or condition.now - latest > between)


def failed(lot: Lot) -> Iterator[Need]:
    """Yield the line of the days that could not be read."""
    latest, number = lot.latest, lot.latest.number
    words = f"{on(latest.day)} could not be read."
    if number > 1:
        words = f"{days_in_words(number)} could not be read, the latest {on(latest.day)}."
    again = f"{'It is' if number == 1 else 'They are'} tried again automatically."
    yield Need(
        "bad",
        "Failed",
        lot.source.slug,
        words,
        f"{latest.error} {again}",
        source_url(lot.source),
        [mending("retry", lot.source.pk, "Retry now")] if lot.may_read else [],
        [to_days(lot, state="failed")],
    )


def suspect(lot: Lot) -> Iterator[Need]:
    """Yield a line for each of the latest suspect days, and one for those that are left."""
    for day in lot.days:
        said = day.suspicion or {}
        words = f"{on(day.day)}: the vendor suddenly reports far less than before."
        if {"held", "reported"} <= said.keys():
            words = (
                f"{on(day.day)}: the vendor now reports {records(said['reported'])}, where {said['held']:,} are held."
            )
        accept = mending("accept", day.pk, "Accept what the vendor reports")
        yield Need(
            "warn",
            "Suspect",
            lot.source.slug,
            words,
            "Nothing was changed. A second read that agrees decides by itself, or you do.",
            source_url(lot.source),
            [mending("read-day", day.pk, "Read again"), accept] if lot.may_read else [],
            [Way("Show the day", reverse("admin:usage_sourceday_change", args=[day.pk]))],
        )
    left = lot.latest.number - len(lot.days)
    if left:
        words = f"{days_in_words(left)} more {'is' if left == 1 else 'are'} suspect."
        link = listed("usage_sourceday", "Show the days", source=lot.source.slug, state="suspect")
        yield Need("warn", "Suspect", lot.source.slug, words, "", source_url(lot.source), [], [link])


def partial(lot: Lot) -> Iterator[Need]:
    """Yield the line of the days of which records could not be kept."""
    number, refused = lot.latest.number, lot.latest.refused
    where = on(lot.latest.day) if number == 1 else f"{days_in_words(number)}, the latest {on(lot.latest.day)}"
    links = [to_days(lot, state="partial")]
    if lot.see_rejected:
        links.insert(0, listed("usage_rejectedrecord", "Show the records", source=lot.source.slug, status="open"))
    yield Need(
        "warn",
        "Partial",
        lot.source.slug,
        f"{records(refused)} of {where} could not be kept." if refused else f"{where}: not every record was kept.",
        "All other records are held. The vendor may mend the records; each read tries them again.",
        source_url(lot.source),
        [mending("read-partial", lot.source.pk, "Read again")] if lot.may_read else [],
        links,
    )


def unverified(lot: Lot) -> Iterator[Need]:
    """Yield the line of the days that do not agree with the vendor's own totals."""
    number = lot.latest.number
    where = on(lot.latest.day) if number == 1 else f"{days_in_words(number)}, the latest {on(lot.latest.day)},"
    verb = "does" if number == 1 else "do"
    yield Need(
        "warn",
        "Unverified",
        lot.source.slug,
        f"{where} {verb} not agree with the vendor's own totals.",
        "",
        source_url(lot.source),
        [mending("read-unverified", lot.source.pk, "Read again")] if lot.may_read else [],
        [to_days(lot, verification="unverified")],
    )


LINES: Final = {
    DayState.FAILED.value: failed,
    DayState.SUSPECT.value: suspect,
    DayState.PARTIAL.value: partial,
    UNVERIFIED: unverified,
}


def to_days(lot: Lot, **asked: str) -> Way:
    """Return the link to a day, or to the list of several."""
    if lot.latest.number == 1:
        return Way("Show the day", reverse("admin:usage_sourceday_change", args=[lot.latest.pk]))
    return listed("usage_sourceday", "Show the days", source=lot.source.slug, **asked)


def source_url(source: Source) -> str:
    """Return the address of a source's page."""
    return reverse("admin:usage_source_change", args=[source.pk])


def on(day: date) -> str:
    """Return a date as the lines say it."""
    return f"{day.day} {day:%b %Y}"


def moment(instant: datetime | None) -> str:
    """Return an instant to the minute."""
    return f"{instant.day} {instant:%b, %H:%M} UTC" if instant else ""


def often(source: Source) -> str:
    """Return how often a source is read."""
    return "every minute" if source.interval_minutes == 1 else f"every {exact(source.interval_minutes)} minutes"


def records(number: int) -> str:
    """Return `1 record` or `1,200 records`."""
    return f"{number:,} record" if number == 1 else f"{number:,} records"
