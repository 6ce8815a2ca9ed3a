"""What a list's page offers: the formats, and the addresses that lead to the rows it is filtered to."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from usage.admin.paging import POSITION
from usage.exports import FORMATS

# What an address of a list says besides the filters: where its page begins, and the export's own words.
NOT_FILTERS: Final = (*POSITION, "p", "all", "o", "format", "export")
TITLES: Final = {
    "csv": ("CSV", "for spreadsheets and scripts"),
    "xlsx": ("Excel (XLSX)", "one sheet, up to 1,048,575 rows"),
    "ndjson": ("NDJSON", "one JSON object a line"),
    "parquet": ("Parquet", "for data tools"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A format of the menu and the address of its download."""

    form: str
    title: str
    hint: str
    address: str


@dataclass(frozen=True, slots=True)
class Menu:
    """What a list's page offers; `about` and `follow` are addresses, the latter without an export's id."""

    name: str
    choices: Sequence[Choice]
    about: str
    follow: str


def menu_of(name: str, view: str, query: QueryDict) -> Menu:
    """Return the menu of the list called `name`, filtered by `query`; `view` is the name of its export's address."""
    filters, address = filters_of(query), reverse(f"admin:{view}")
    choices = [Choice(form, *TITLES[form], f"{address}{asked(filters, format=form)}") for form in formats()]
    return Menu(name, choices, reverse(f"admin:{view}_about") + asked(filters), address)


def asked(filters: QueryDict, **further: str) -> str:
    """Return the end of an address that asks for these filters and more."""
    query = filters.copy()
    query.update(further)
    return f"?{query.urlencode()}" if query else ""


def formats() -> tuple[str, ...]:
    """Return the formats on offer: Parquet only where pyarrow is installed."""
    return tuple(form for form in TITLES if form in FORMATS and (form != "parquet" or find_spec("pyarrow")))


def filters_of(query: QueryDict) -> QueryDict:
    """Return the parameters of a list's address that filter it."""
    kept = query.copy()
    for name, values in query.lists():
        if name in NOT_FILTERS or not any(values):
            del kept[name]
    return kept


def bounds_of(query: QueryDict) -> Iterator[str]:
    """Yield the range that a list is filtered to, as far as it is."""
    for name, value in query.items():
        if name in {"from", "to"} or name.endswith(("__range__gte", "__range__lte")):
            yield str(value)


def file_name(listed: str, query: QueryDict, form: str) -> str:
    """Return e.g. `resource-usage_gcore-main_2026-11-01_2026-12-01_as-of-20261202T091500Z.csv`."""
    named = [listed, query.get("source", ""), *bounds_of(query)]
    said = [re.sub(r"[^0-9A-Za-z.-]+", "-", part)[:60] for part in named]
    return f"{'_'.join([*filter(None, said), f'as-of-{timezone.now():%Y%m%dT%H%M%SZ}'])}.{form}"
