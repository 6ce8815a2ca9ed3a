"""What is held of each day, one letter a day: the whole calendar of every source in one query."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any, Final

from django.db import connection

from sync.engine.plan import today
from usage.models import Source

# A capital letter is a day that was restated. Days that were to be held and of which no row exists are `m`,
# those before the first day to hold `b`, those that have not begun `a`.
LETTERS = """
SELECT asked.source_id, string_agg(
    CASE WHEN held.restated_at IS NULL THEN said.letter ELSE upper(said.letter) END, '' ORDER BY calendar.day
)
FROM unnest(%(ids)s::bigint[], %(firsts)s::date[], %(todays)s::date[]) AS asked (source_id, first, today)
CROSS JOIN generate_series(%(start)s::timestamp, %(last)s::timestamp, '1 day') AS calendar (day)
LEFT JOIN usage_sourceday AS held ON held.source_id = asked.source_id AND held.day = calendar.day::date
CROSS JOIN LATERAL (SELECT CASE
    WHEN calendar.day > asked.today THEN 'a'
    WHEN held.id IS NULL AND calendar.day < asked.first THEN 'b'
    WHEN held.id IS NULL AND calendar.day = asked.today THEN 't'
    WHEN held.id IS NULL THEN 'm'
    WHEN held.state = 'failed' THEN 'f'
    WHEN held.state = 'suspect' THEN 's'
    WHEN held.state = 'partial' THEN 'h'
    WHEN NOT held.complete AND held.state = 'loading' THEN 'l'
    WHEN held.loaded_at IS NULL AND calendar.day = asked.today THEN 't'
    WHEN held.loaded_at IS NULL THEN 'w'
    WHEN NOT held.complete THEN 'o'
    WHEN held.verification = 'unverified' THEN 'u'
    WHEN NOT held.final THEN CASE held.verification WHEN 'verified' THEN 'q' ELSE 'p' END
    WHEN held.records = 0 THEN 'e'
    WHEN held.verification = 'verified' THEN 'v'
    ELSE 'c'
END AS letter) AS said
GROUP BY asked.source_id
"""


@dataclass(frozen=True, slots=True)
class Look:
    """How days of one letter are shown: `kind` is their colour and shape, `mark` a sign, `said` what they are called.

    `gap`: their usage is missing from sums, or may be; somebody will ask why.
    """

    kind: str
    mark: str
    said: str
    gap: bool = False


LOOKS: Final[dict[str, Look]] = {
    "v": Look("complete", "✓", "complete, verified"),
    "c": Look("complete", "●", "complete"),
    "e": Look("empty", "○", "complete, nothing was used"),
    "q": Look("provisional", "~", "complete, verified, provisional"),
    "p": Look("provisional", "~", "complete, provisional"),
    "o": Look("open", "…", "not read to its end yet"),
    "t": Look("open", "…", "begun, not read yet"),
    "u": Look("unverified", "≠", "differs from the vendor's own sums", gap=True),
    "h": Look("partial", "½", "partial, some records could not be kept", gap=True),
    "s": Look("suspect", "?", "suspect, the vendor suddenly reports much less", gap=True),
    "f": Look("failed", "✕", "failed", gap=True),
    "l": Look("loading", "↻", "being read now"),
    "w": Look("missing", "–", "never read, waiting", gap=True),
    "m": Look("missing", "–", "never read", gap=True),
    "b": Look("before", "", "before the first day to hold"),
    "a": Look("ahead", "", "has not begun"),
}
# Every kind once, in the order of the legend: its name and what it means.
LEGEND: Final[dict[str, tuple[str, str]]] = {
    "complete": ("Complete", "read after its end, every record kept, final; ✓ where the vendor's sums agree"),
    "empty": ("Nothing used", "complete, without a record"),
    "provisional": ("Provisional", "complete, and read again while the vendor may still change it"),
    "open": ("Still open", "not read to its end yet"),
    "unverified": ("Unverified", "differs from the vendor's own sums"),
    "partial": ("Partial", "some records could not be kept"),
    "suspect": ("Suspect", "the vendor suddenly reports much less; a person decides"),
    "failed": ("Failed", "the last read did not succeed"),
    "loading": ("Being read", "just now"),
    "missing": ("Missing", "to be held, and never read"),
    "before": ("Not held", "before the first day to hold"),
    "ahead": ("To come", "has not begun"),
}
NOT_TO_BE_HELD = ("before", "ahead")
CAPITALS: Final = re.compile("[A-Z]")


@dataclass(frozen=True, slots=True)
class Span:
    """Letters of consecutive days of one source, from `first` on."""

    first: date
    letters: str

    def between(self, start: date, last: date) -> "Span":
        """Return the part from `start` to `last`, both included and both within the span."""
        begin, end = (start - self.first).days, (last - self.first).days + 1
        return Span(start, self.letters[begin:end])

    def days(self) -> Iterator[tuple[date, str]]:
        """Yield each day and its letter."""
        for number, letter in enumerate(self.letters):
            yield self.first + timedelta(days=number), letter

    @property
    def counts(self) -> Counter[str]:
        """How many days there are of each kind."""
        letters = self.letters.lower()
        counts: Counter[str] = Counter()
        for letter, look in LOOKS.items():
            counts[look.kind] += letters.count(letter)
        return counts

    @property
    def restated(self) -> int:
        """How many days came back different after they had been complete."""
        return len(CAPITALS.findall(self.letters))

    @property
    def words(self) -> str:
        """The counts in one sentence: `320 of 327 days complete, 3 of them provisional; 2 failed; 2 missing.`"""
        counts = self.counts
        due = sum(number for kind, number in counts.items() if kind not in NOT_TO_BE_HELD)
        if not due:
            return "No day to hold."
        whole = counts["complete"] + counts["empty"] + counts["provisional"]
        provisional = f", {counts['provisional']:,} of them provisional" if counts["provisional"] else ""
        said = [f"{whole:,} of {due:,} {'day' if due == 1 else 'days'} complete{provisional}"]
        names = {"open": "still open", "loading": "being read"}
        rest = ("unverified", "partial", "suspect", "failed", "missing", "loading", "open")
        said += [f"{counts[kind]:,} {names.get(kind, kind)}" for kind in rest if counts[kind]]
        if self.restated:
            said.append(f"{self.restated:,} restated")
        return "; ".join(said) + "."

    def gaps(self) -> Iterator["Gap"]:
        """Yield the runs of days whose usage may be missing, of one letter each, the latest first."""
        end = len(self.letters)
        for letter, run in groupby(reversed(self.letters.lower())):
            begin = end - len([*run])
            if LOOKS[letter].gap:
                yield Gap(self.first + timedelta(days=begin), self.first + timedelta(days=end - 1), letter)
            end = begin


@dataclass(frozen=True, slots=True)
class Gap:
    """Days from `first` to `last`, both included, that are all of one letter."""

    first: date
    last: date
    letter: str

    @property
    def look(self) -> Look:
        """How its days are shown."""
        return LOOKS[self.letter]

    @property
    def words(self) -> str:
        """The days in words: `14 Nov 2026`, `3–7 Mar 2026 (5 days)`, `30 Dec 2025 – 2 Jan 2026 (4 days)`."""
        days = (self.last - self.first).days + 1
        if days == 1:
            return short(self.last)
        same_month = (self.first.year, self.first.month) == (self.last.year, self.last.month)
        beginning = f"{self.first.day}–" if same_month else f"{short(self.first)} – "
        return f"{beginning}{short(self.last)} ({days:,} days)"


def short(day: date) -> str:
    """Return a date as `14 Nov 2026`."""
    return f"{day.day} {day:%b %Y}"


def long(day: date) -> str:
    """Return a date as `14 November 2026`."""
    return f"{day.day} {day:%B %Y}"


def spans_of(sources: Collection[Source], first: date, last: date) -> dict[int, Span]:
    """Return the letters of every day from `first` to `last`, both included, by source, in one query."""
    parameters: dict[str, Any] = {
        "ids": [source.pk for source in sources],
        "firsts": [source.backfill_from for source in sources],
        "todays": [today(source) for source in sources],
        "start": first,
        "last": last,
    }
    with connection.cursor() as cursor:
        cursor.execute(LETTERS, parameters)
        return {source: Span(first, letters) for source, letters in cursor.fetchall()}
