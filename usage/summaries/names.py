"""The names beside the ids of a summary's rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from usage.directory.lookup import NAMED_COLUMNS, TEAM, Names, build_name_name, find_names
from usage.models import NameKind
from usage.summaries.query import SummaryQuery
from usage.summaries.sql import GroupKey


@dataclass(frozen=True, slots=True)
class RowNames:
    """Names the dimensions of rows: `kinds` are those of the dimensions that are ids, in the order of the values."""

    dimensions: tuple[str, ...]
    kinds: tuple[NameKind | None, ...]
    names: Names
    source_ids: Mapping[str, int]

    @classmethod
    def fetch(cls, query: SummaryQuery, keys: Iterable[GroupKey]) -> "RowNames":
        """Return the names of all ids in the groups, in one query where there are ids."""
        dimensions = tuple(dimension.name for dimension in query.dimensions)
        kinds = tuple(get_name_kind(query, name) for name in dimensions)
        ids: dict[NameKind, set[Any]] = {}
        if any(kinds):
            for values, _ in keys:
                for kind, value in zip(kinds, values, strict=True):
                    if kind is not None:
                        ids.setdefault(kind, set()).add(value)
        names = find_names(ids, [source.pk for source in query.sources], query.names)
        return cls(dimensions, kinds, names, {source.slug: source.pk for source in query.sources})

    def build(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return the dimensions of a row, each id followed by its name, None where that is not known.

        Without the source among them it is the name that was seen last.
        """
        row: dict[str, Any] = {}
        source_id = None
        if "source" in self.dimensions:
            source_id = self.source_ids.get(values[self.dimensions.index("source")])
        for name, kind, value in zip(self.dimensions, self.kinds, values, strict=True):
            row[name] = value
            if kind is not None:
                row[build_name_name(name)] = self.names.get(kind, value, source_id) or None
        return row


def get_name_kind(query: SummaryQuery, name: str) -> NameKind | None:
    """Return the kind of a dimension's names; None where it is no id, its names are hidden, or a dimension has them."""
    kind = NameKind.TEAM if name == TEAM else NAMED_COLUMNS[query.metrics.kind].get(name)
    if kind is None or query.names.get_column(kind) is None or build_name_name(name) in query.group_by:
        return None
    return kind
