"""The table of an answer: exact numbers with their units, shares and changes, in the order that was asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from usage.admin.changes import MINUS
from usage.admin.display import NOTHING, duration, exact, quantity, runtime
from usage.admin.records.units import consumed
from usage.exactly import to_places
from usage.explore.address import Said, changed
from usage.explore.kinds import Kind, label_of
from usage.explore.lines import Line, Lines, unit_of
from usage.filters.fields import SeveralFilter
from usage.filters.values import TagsFilter

SHOWN: Final = 500  # rows of a page; the files have all of them
NONE: Final = "none"
LONG: Final = 24  # characters


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head: `sorted` as in aria-sort, `address` orders by it, '' where that cannot be asked for."""

    label: str
    name: str
    number: bool = False
    sorted: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a row; `address` asks the same of this value alone. `tone`: up, down or nothing."""

    shown: SafeString | str
    number: bool = False
    address: str = ""
    quiet: bool = False

    @property
    def long(self) -> bool:
        """Whether it is a name that may go over several lines, so that the numbers beside it are seen."""
        return not self.number and len(self.shown) > LONG


@dataclass(frozen=True, slots=True)
class Table:
    """The rows that are shown of `rows_in_all`, and below them what was left out and the totals."""

    heads: list[Head]
    rows: list[list[Cell]]
    below: list[tuple[str, list[Cell]]]
    rows_in_all: int

    @property
    def cut(self) -> int:
        """How many rows are not shown, 0 for none."""
        return self.rows_in_all - len(self.rows)


def table_of(lines: Lines, kind: Kind, said: Said) -> Table:
    """Return the table; `said`: the parameters in the address, `kind` included."""
    parts = lines.results if lines.parted else []  # else they are the totals
    return Table(
        heads=list(heads(lines, kind, said)),
        rows=[[*names(lines, kind, said, line), *numbers(lines, line)] for line in parts[:SHOWN]],
        below=[
            *((labelled(lines, line, f"Others ({lines.left_out:,})"), foot(lines, line)) for line in lines.others),
            *((labelled(lines, line, "Total"), foot(lines, line)) for line in lines.totals),
        ],
        rows_in_all=len(parts),
    )


def labelled(lines: Lines, line: Line, word: str) -> str:
    """Return what a line of sums is called: with its metric, where that would stand in the same column."""
    first = next(iter(columns(lines)), "")
    return f"{word}: {line[first] or NONE}" if first in lines.apart else word


def columns(lines: Lines) -> tuple[str, ...]:
    """Return the names of what stands before the numbers."""
    return (*filter(None, (lines.interval,)), *lines.dimensions)


def heads(lines: Lines, kind: Kind, said: Said) -> Iterator[Head]:
    """Yield the heads of the columns."""
    sortable = kind.shape is not None
    if not columns(lines):
        yield Head("", "sums")
    for name in columns(lines):
        yield Head(label_of(name), name, sorted=order_of(said, name), address=reorder(said, name, sortable))
    for name in lines.mattering:
        yield Head(label_of(name), name, True, order_of(said, name), reorder(said, name, sortable, first="-"))
        if lines.compared:
            yield Head("Before", f"{name}-before", True)
            yield Head("Change", f"{name}-change", True)
        if name == lines.main and lines.parted:
            yield Head("Share", f"{name}-share", True)


def order_of(said: Said, name: str) -> str:
    """Return how the rows are ordered by a column first, as aria-sort says it; '' where they are not."""
    first = dict(said).get("order_by", "").split(",")[0]
    return {name: "ascending", f"-{name}": "descending"}.get(first, "")


def reorder(said: Said, name: str, sortable: bool, first: str = "") -> str:
    """Return the query that orders by a column, the other way round where it does already."""
    if not sortable or name == "deleted_recipes":
        return ""
    now = dict(said).get("order_by", "").split(",")[0]
    wanted = f"{first}{name}"
    other = name if wanted.startswith("-") else f"-{name}"
    return changed(said, order_by=other if now == wanted else wanted)


def names(lines: Lines, kind: Kind, said: Said, line: Line) -> Iterator[Cell]:
    """Yield the cells of the interval and the dimensions."""
    if lines.interval:
        yield Cell(interval_in_words(line[lines.interval], lines.interval))
    for name in lines.dimensions:
        yield named(line[name], narrowed(kind, said, name, line[name]))


def named(value: Any, address: str = "") -> Cell:
    """Return the cell of a dimension's value."""
    if value is None or value == "":
        return Cell(NONE, quiet=True)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", quiet=not value)
    return Cell(str(value), address=address)


def narrowed(kind: Kind, said: Said, name: str, value: Any) -> str:
    """Return the query that asks of one value only, '' where no filter can or it is asked of already."""
    text = "" if value is None or isinstance(value, bool) else str(value)
    tagged = name.startswith("tag:") and isinstance(kind.understood.get("tag"), TagsFilter)
    if tagged and text:
        pair = ("tag", f"{name.removeprefix('tag:')}:{text}")
        return "" if pair in said or pair[1].startswith((":", " ")) else changed([*said, pair])
    plain = isinstance(kind.understood.get(name), SeveralFilter)
    if not plain or not text.strip() or "," in text or dict(said).get(name) == text:
        return ""
    return changed(said, **{name: text})


def numbers(lines: Lines, line: Line) -> Iterator[Cell]:
    """Yield the cells of the measures."""
    for name in lines.mattering:
        yield Cell(amount(name, line[name], unit_of(name, line)), True)
        if lines.compared:
            yield Cell(amount(name, line["previous"][name], unit_of(name, line)), True, quiet=True)
            yield Cell(change(name, line, unit_of(name, line)), True)
        if name == lines.main and lines.parted:
            yield Cell(percent(lines.share(line)), True)


def foot(lines: Lines, line: Line) -> list[Cell]:
    """Return the cells of a line of sums; its first cell says what it is of."""
    shown = [named(line[name]) if name in lines.apart else Cell("") for name in columns(lines)[1:]]
    return [*shown, *numbers(lines, line)]


def amount(measure: str, value: Any, unit: str) -> SafeString | str:
    """Return a number with its unit; seconds also as people say them."""
    if value is None:
        return quantity(None)
    if measure == "runtime_seconds":
        return runtime(Decimal(value))
    return consumed(Decimal(value), unit) if unit else quantity(Decimal(value) if isinstance(value, str) else value)


def change(measure: str, line: Line, unit: str) -> SafeString | str:
    """Return the absolute change as its measure is shown, and the relative one: `+5 minutes (+50.0 %)`."""
    value, part = line["change"][measure], line["relative_change"][measure]
    if value is None:
        return NOTHING
    number = Decimal(value)
    sign, size = "+" if number > 0 else MINUS if number < 0 else "", number.copy_abs()
    share = "" if part is None else f" ({percent(Decimal(part), sign=True)})"
    if measure != "runtime_seconds":
        return consumed(size, unit, sign, share)
    digits = f"{sign}{exact(size)} s"
    return format_html(
        '<span class="number">{}{}{} <span class="exact">{}</span></span>', sign, duration(size), share, digits
    )


def percent(part: Decimal | None, *, sign: bool = False) -> str:
    """Return a part of one as a percentage with one decimal."""
    if part is None:
        return NOTHING
    shown = to_places(part * 100, 1)
    before = MINUS if shown < 0 else "+" if sign and shown else ""
    return f"{before}{shown.copy_abs():,f} %"


def interval_in_words(label: str, interval: str) -> str:
    """Return an interval as people say it: `2026-11-03`, `Nov 2026`, `Q4 2026`, `2026`, `week of 2026-11-02`."""
    if interval == "hour":
        return f"{datetime.fromisoformat(label):%Y-%m-%d %H:%M %z}"
    on = date.fromisoformat(label)
    words = {
        "month": f"{on:%b %Y}",
        "quarter": f"Q{(on.month + 2) // 3} {on.year}",
        "year": f"{on.year}",
        "week": f"week of {on}",
    }
    return words.get(interval, f"{on} {on:%a}")
