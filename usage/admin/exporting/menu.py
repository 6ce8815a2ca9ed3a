"""The Export menu of a list: its formats, and the addresses of the filtered rows in each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from django.http import QueryDict
from django.urls import reverse

from usage.admin.lists.pagination import POSITION
from usage.exports.file_names import build_export_name
from usage.exports.formats import FORMATS, ExportFormat
from usage.param_values import list_values
from usage.standby import get_data_time

# Parameters of a list's address that are no filters.
NAMES: Final = "names"  # 1: with the columns of names
NOT_FILTERS: Final = (*POSITION, "p", "all", "o", "format", "export", "bom", NAMES)


@dataclass(frozen=True, slots=True)
class ExportMenu:
    """The Export menu of a list: each format with the address of its download.

    `about_url` leads to the page about it, `base_url` is that of its exports.
    """

    list_name: str
    downloads: Sequence[tuple[ExportFormat, str]]
    about_url: str
    base_url: str


def build_menu(list_name: str, view: str, list_params: QueryDict, **params: str) -> ExportMenu:
    """Return the menu of a list with these filters; `view` is the name of its export's URL.

    `params`: parameters of every download.
    """
    filters, url = extract_filters(list_params), reverse(f"admin:{view}")
    downloads = [
        (export_format, f"{url}{build_query(filters, **params, format=name)}")
        for name, export_format in find_available_formats().items()
    ]
    return ExportMenu(list_name, downloads, reverse(f"admin:{view}_about") + build_query(filters), url)


def build_query(filters: QueryDict, **params: str) -> str:
    """Return the query string of these filters and further parameters."""
    query = filters.copy()
    query.update(params)
    return f"?{query.urlencode()}" if query else ""


def find_available_formats() -> dict[str, ExportFormat]:
    """Return the formats whose libraries are installed, by name."""
    return {name: export_format for name, export_format in FORMATS.items() if export_format.is_available()}


def extract_filters(params: QueryDict) -> QueryDict:
    """Return the parameters of a list's address that filter it."""
    filters = params.copy()
    for name, values in params.lists():
        if name in NOT_FILTERS or not any(values):
            del filters[name]
    return filters


def find_dates(params: QueryDict) -> Iterator[str]:
    """Yield the ends of the ranges that a list without `from` and `to` is filtered to."""
    for name, value in params.items():
        if name.endswith(("__range__gte", "__range__lte")):
            yield str(value)


def build_filename(list_name: str, params: QueryDict, ending: str) -> str:
    """Return e.g. `resource-usage_gcore-main_2026-11-01_2026-12-01_as-of-20261202T091500Z.csv`."""
    sources = list_values(params, "source")
    return build_export_name(list_name, params, ending, get_data_time(), sources=sources, dates=find_dates(params))
