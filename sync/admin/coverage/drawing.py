"""A year at a glance: weeks × weekdays as a few paths, one per kind of day, so that a year weighs about 1 KB."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

from sync.admin.coverage.letters import CAPITALS, LOOKS, Span

PITCH: Final = 12  # of a day and of a week; a day's square is 10 of it
WEEKDAYS: Final = 7
RESTATED: Final = "restated"
# Kinds whose squares are dashes of one line down a week, which costs a few bytes for seven days.
LINED: Final = frozenset({"complete", "empty", "missing", "ahead"})
# The shape of every other kind, from the upper left corner of its square on.
SHAPES: Final[dict[str, str]] = {
    "provisional": "m1 1h8v8h-8z",
    "open": "m1 5a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "loading": "m1 5a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "unverified": "m0 3h10m-10 4h10m-3-7-4 10",
    "partial": "v10h10z",
    "suspect": "m5 0 5 5-5 5-5-5z",
    "failed": "m1 1 8 8m0-8-8 8",
    RESTATED: "m3-1h8v8z",
}
NOT_DRAWN: Final = " b"
# One letter for all of a kind, so that a run of days that look alike is one run.
ONE_OF_KIND: Final = {look.kind: letter for letter, look in LOOKS.items()}
ALIKE: Final = str.maketrans(
    {sign: ONE_OF_KIND[look.kind] for letter, look in LOOKS.items() for sign in (letter, letter.upper())}
)
DRAWN: Final = (*sorted(LINED), *(kind for kind in SHAPES if kind != RESTATED))


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
class Year:
    """One year of one source as it is drawn: its letters, its paths and its width."""

    number: int
    span: Span

    @property
    def paths(self) -> list[Path]:
        """The paths, in the order of the letters' meanings."""
        drawn: dict[str, list[str]] = defaultdict(list)
        for kind, column, row, length in runs(self.span):
            x, y = column * PITCH, row * PITCH
            if kind in LINED:
                drawn[kind].append(f"M{x + 5} {y}v{length * PITCH - 2}")
            else:
                drawn[kind] += [f"M{x} {y + step * PITCH}{SHAPES[kind]}" for step in range(length)]
        for found in CAPITALS.finditer(self.span.letters):
            column, row = place(self.span.first, found.start())
            drawn[RESTATED].append(f"M{column * PITCH} {row * PITCH}{SHAPES[RESTATED]}")
        return [Path(kind, "".join(drawn[kind])) for kind in (*DRAWN, RESTATED) if kind in drawn]

    @property
    def months(self) -> list[MonthName]:
        """The names over the weeks."""
        first = self.span.first
        starts = (date(first.year, month, 1) for month in range(1, 13))
        return [MonthName(place(first, (day - first).days)[0] * PITCH, f"{day:%b}") for day in starts]

    @property
    def label(self) -> str:
        """What the picture says, in words."""
        return f"{self.number}: {self.span.words}"


def place(first: date, number: int) -> tuple[int, int]:
    """Return the column (week) and the row (Monday is 0) of the day `number` days after `first`."""
    return divmod(first.weekday() + number, WEEKDAYS)


def runs(span: Span) -> Iterator[tuple[str, int, int, int]]:
    """Yield kind, column, first row and length of the runs of days of one kind within a week; `before` is not drawn."""
    days = " " * span.first.weekday() + span.letters.translate(ALIKE)
    for column, start in enumerate(range(0, len(days), WEEKDAYS)):
        row = 0
        for letter, run in groupby(days[start : start + WEEKDAYS]):
            length = len([*run])
            if letter not in NOT_DRAWN:
                yield LOOKS[letter].kind, column, row, length
            row += length
