"""A year as a picture of weeks and weekdays: one SVG path per kind of day, about 1 KB a year."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

from sync.admin.coverage.status import APPEARANCES, CalendarDay, describe_days

PITCH: Final = 12  # of a day and of a week; the square of a day is 10 of it
WEEKDAYS: Final = 7
RESTATED: Final = "restated"
# Kinds whose squares are dashes of one line down a week, which costs a few bytes for seven days.
LINE_KINDS: Final = frozenset({"complete", "empty", "missing", "ahead"})
# The shape of every other kind, from the upper left corner of its square.
SHAPES: Final[dict[str, str]] = {
    "provisional": "m1 1h8v8h-8z",
    "open": "m1 5a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "loading": "m1 5a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "accepted": "m1 2h8v2h-8zm0 4h8v2h-8z",
    "pruned": "m2 2h6v6h-6z",
    "archived": "m1 2h8v2h-8zm1 3h6v3h-6z",
    "mismatched": "m4 0h2v6h-2zm0 8h2v2h-2z",
    "unverified": "m0 3h10m-10 4h10m-3-7-4 10",
    "partial": "v10h10z",
    "suspect": "m5 0 5 5-5 5-5-5z",
    "failed": "m1 1 8 8m0-8-8 8",
    RESTATED: "m3-1h8v8z",
}
NOT_DRAWN: Final = "before"
DRAWN_KINDS: Final = (*sorted(LINE_KINDS), *SHAPES)


@dataclass(frozen=True, slots=True)
class Path:
    """All days of one kind: the class that colours them and the path that shows them."""

    kind: str
    d: str


@dataclass(frozen=True, slots=True)
class MonthName:
    """The name of a month over the week it begins in."""

    x: int
    name: str


@dataclass(frozen=True, slots=True)
class YearChart:
    """One year of one source; `days` are all days of the year."""

    number: int
    days: Sequence[CalendarDay]
    today: date

    @property
    def first(self) -> date:
        return self.days[0].date

    @property
    def paths(self) -> list[Path]:
        """The paths, one per kind."""
        paths: dict[str, list[str]] = defaultdict(list)
        for kind, column, row, length in self.find_runs():
            x, y = column * PITCH, row * PITCH
            if kind in LINE_KINDS:
                paths[kind].append(f"M{x + 5} {y}v{length * PITCH - 2}")
            else:
                paths[kind] += [f"M{x} {y + step * PITCH}{SHAPES[kind]}" for step in range(length)]
        for day in self.days:
            if day.restated:
                column, row = self.get_position(day.date)
                paths[RESTATED].append(f"M{column * PITCH} {row * PITCH}{SHAPES[RESTATED]}")
        return [Path(kind, "".join(paths[kind])) for kind in DRAWN_KINDS if kind in paths]

    @property
    def months(self) -> list[MonthName]:
        """The names of the months over the weeks."""
        starts = (date(self.number, month, 1) for month in range(1, 13))
        return [MonthName(self.get_position(start)[0] * PITCH, f"{start:%b}") for start in starts]

    @property
    def summary(self) -> str:
        return describe_days(self.days)

    @property
    def label(self) -> str:
        """The picture as text."""
        return f"{self.number}: {self.summary}"

    @property
    def descriptions(self) -> str:
        """Each run of equal days with its length, for the script: `31 complete, final, verified; 1 failed`."""
        groups = groupby(self.days, key=lambda day: day.description)
        return "; ".join(f"{len([*group])} {description}" for description, group in groups)

    def get_position(self, day: date) -> tuple[int, int]:
        """Return the column (week) and the row (Monday is 0) of a day."""
        return divmod(self.first.weekday() + (day - self.first).days, WEEKDAYS)

    def find_runs(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield kind, column, first row and length of the runs of days of one kind within a week."""
        kinds = [NOT_DRAWN] * self.first.weekday() + [APPEARANCES[day.status].kind for day in self.days]
        for column, start in enumerate(range(0, len(kinds), WEEKDAYS)):
            row = 0
            for kind, run in groupby(kinds[start : start + WEEKDAYS]):
                length = len([*run])
                if kind != NOT_DRAWN:
                    yield kind, column, row, length
                row += length
