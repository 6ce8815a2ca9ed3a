"""The table of an answer: exact numbers with their units, shares and changes, in the order of the answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from django.utils.safestring import SafeString

from usage.admin.display import render_number, render_quantity
from usage.admin.lists.cells import render_name
from usage.explore.kinds import SummaryKind
from usage.explore.params import Params, get_values, replace_params
from usage.explore.rows import UNIT_COLUMNS, AnswerRows, Row, get_unit
from usage.explore.steps import Question
from usage.formatting import MINUS, NOTHING, format_interval, format_percent
from usage.labels import get_label
from usage.param_values import write_value
from usage.summaries.query import CHANGE

NONE: Final = "none"
LONG_TEXT: Final = 24  # characters


@dataclass(frozen=True, slots=True)
class ColumnHead:
    """A column's heading. `sorted`: as in aria-sort; `query` orders by it, '' where the rows cannot be ordered so."""

    label: str
    name: str
    is_number: bool = False
    sorted: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class TableCell:
    """A cell; `query` is the same question about this value alone."""

    text: SafeString | str
    is_number: bool = False
    query: str = ""
    is_quiet: bool = False

    @property
    def is_long(self) -> bool:
        """Whether it is a name that may go over several lines, so that the numbers beside it are seen."""
        return not self.is_number and len(self.text) > LONG_TEXT


@dataclass(frozen=True, slots=True)
class ExploreTable:
    """The rows of a page, and below them the label and the cells of what was left out and of the totals."""

    heads: list[ColumnHead]
    rows: list[list[TableCell]]
    footer: list[tuple[str, list[TableCell]]]

    @property
    def sections(self) -> list[tuple[str, list[list[TableCell]]]]:
        """The rows of each unit under its name; all rows under no name where the order mixes units."""
        place = next((place for place, head in enumerate(self.heads) if head.name in UNIT_COLUMNS.values()), None)
        if place is None:
            return [("", self.rows)]
        parts = [(str(text), list(rows)) for text, rows in groupby(self.rows, lambda row: str(row[place].text))]
        is_mixed = len({unit for unit, _ in parts}) < len(parts)
        return [("", self.rows)] if is_mixed or len(parts) == 1 else parts


def build_table(rows: AnswerRows, kind: SummaryKind, params: Params) -> ExploreTable:
    """Return the table; `params`: those of the address, `kind` included."""
    question = Question(kind, params)
    shown_rows = rows.results if rows.is_grouped else []  # else they are the totals
    others_label = f"Others ({rows.other_groups:,})"
    footer = [*((others_label, row) for row in rows.others), *(("Total", row) for row in rows.totals)]
    return ExploreTable(
        heads=list(build_heads(rows, kind, params)),
        rows=[[*build_names(rows, question, row), *build_numbers(rows, row)] for row in shown_rows],
        footer=[(get_footer_label(rows, row, text), build_footer(rows, row)) for text, row in footer],
    )


def get_footer_label(rows: AnswerRows, row: Row, text: str) -> str:
    """Return the label of a line of sums: with its metric, where that would stand in the same column."""
    first = next(iter(get_columns(rows)), "")
    return f"{text}: {row[first] or NONE}" if first in rows.partition else text


def get_columns(rows: AnswerRows) -> tuple[str, ...]:
    """Return the names of the columns before the numbers."""
    return (*filter(None, (rows.interval,)), *rows.dimensions)


def build_heads(rows: AnswerRows, kind: SummaryKind, params: Params) -> Iterator[ColumnHead]:
    """Yield the headings of the columns."""
    sortable = kind.metrics is not None
    if not get_columns(rows):
        yield ColumnHead("", "sums")
    for name in get_columns(rows):
        yield ColumnHead(
            get_label(name), name, sorted=get_sorting(params, name), query=build_sort_query(params, name, sortable)
        )
    for name in rows.ordered_measures:
        query = build_sort_query(params, name, sortable, sign="-")
        yield ColumnHead(get_label(name), name, True, get_sorting(params, name), query)
        if rows.has_previous:
            yield ColumnHead("Before", f"{name}-before", True)
            change = f"{CHANGE}{name}"
            query = build_sort_query(params, change, sortable, sign="-")
            yield ColumnHead("Change", f"{name}-change", True, get_sorting(params, change), query)
        if name == rows.main and rows.is_grouped:
            yield ColumnHead("Share", f"{name}-share", True)


def get_sorting(params: Params, name: str) -> str:
    """Return how the rows are ordered by a column first, as in aria-sort; '' if they are not."""
    return {name: "ascending", f"-{name}": "descending"}.get(get_first_order(params), "")


def get_first_order(params: Params) -> str:
    """Return the name that the rows are ordered by first, - before it for the reverse; '' for the default order."""
    return next(iter(get_values(params, "order_by")), "")


def build_sort_query(params: Params, name: str, sortable: bool, sign: str = "") -> str:
    """Return the query that orders by a column, in reverse if it is ordered so already."""
    if not sortable or name == "deleted_recipes":
        return ""
    order = f"{sign}{name}"
    reverse = name if sign else f"-{name}"
    return replace_params(params, order_by=write_value(reverse if get_first_order(params) == order else order))


def build_names(rows: AnswerRows, question: Question, row: Row) -> Iterator[TableCell]:
    """Yield the cells of the interval and the dimensions, each with the query about it."""
    if rows.interval:
        interval = row[rows.interval]
        yield TableCell(format_interval(interval, rows.interval), query=question.step_into_interval(interval))
    for name in rows.dimensions:
        yield build_name(row[name], question.step_into([(name, row[name])]), rows.get_name(row, name))


def build_name(value: Any, query: str = "", name: str = "") -> TableCell:
    """Return the cell of a dimension's value, of an id with its name before it."""
    if name:
        return TableCell(render_name(name, value), query=query)
    if value is None or value == "":
        return TableCell(NONE, query=query, is_quiet=True)
    if isinstance(value, bool):
        return TableCell("yes" if value else "no", is_quiet=not value)
    return TableCell(str(value), query=query)


def build_numbers(rows: AnswerRows, row: Row) -> Iterator[TableCell]:
    """Yield the cells of the measures."""
    for name in rows.ordered_measures:
        unit = get_unit(name, row)
        yield TableCell(render_amount(row[name], unit), True)
        if rows.has_previous:
            yield TableCell(render_amount(row["previous"][name], unit), True, is_quiet=True)
            yield TableCell(render_change(name, row, unit), True)
        if name == rows.main and rows.is_grouped:
            yield TableCell(format_percent(rows.get_share(row)), True)


def build_footer(rows: AnswerRows, row: Row) -> list[TableCell]:
    """Return the cells of a line of sums after its label."""
    names = [build_name(row[name]) if name in rows.partition else TableCell("") for name in get_columns(rows)[1:]]
    return [*names, *build_numbers(rows, row)]


def render_amount(value: Any, unit: str) -> SafeString | str:
    """Return a number with its unit, scaled for people."""
    if value is None:
        return render_number(None)
    number = Decimal(value)
    return render_quantity(number, unit) if unit else render_number(number)


def render_change(measure: str, row: Row, unit: str) -> SafeString | str:
    """Return the absolute and the relative change: `+5 minutes (+50.0 %)`."""
    value, ratio = row["change"][measure], row["relative_change"][measure]
    if value is None:
        return NOTHING
    number = Decimal(value)
    sign, size = "+" if number > 0 else MINUS if number < 0 else "", number.copy_abs()
    share = "" if ratio is None else f" ({format_percent(Decimal(ratio), signed=True)})"
    return render_quantity(size, unit, sign, share)
