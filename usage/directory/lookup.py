"""Look up names by ids, and ids by names."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.db import connection
from django.db.models import Case, F, Q, QuerySet, Sum, TextField, Value, When
from rest_framework.exceptions import ValidationError

from usage.columns import TEXT, Column, NameLookup, select_columns
from usage.directory.access import NameAccess
from usage.models import (
    Directory,
    DirectoryEntry,
    EnvironmentUsage,
    NameKind,
    RecipeUsage,
    ResourceUsage,
    UsageRecord,
)
from usage.param_values import list_values

# The columns of ids that the directory has names for, of each kind of usage.
NAMED_COLUMNS: Final[dict[type[UsageRecord], dict[str, NameKind]]] = {
    EnvironmentUsage: {
        "project_id": NameKind.PROJECT,
        "user_id": NameKind.USER,
        "runner_id": NameKind.RUNNER,
        "environment_class_id": NameKind.ENVIRONMENT_CLASS,
    },
    ResourceUsage: {"project_id": NameKind.PROJECT, "region_id": NameKind.REGION},
    RecipeUsage: {
        "workspace_id": NameKind.WORKSPACE,
        "recipe_id": NameKind.RECIPE,
        "folder_id": NameKind.FOLDER,
    },
}
# The dimension whose values are ids of teams, and no column.
TEAM: Final = "team"
SELECT: Final = """
    SELECT source_id, kind, vendor_id, CASE {cases} END, gone_at IS NOT NULL
    FROM usage_directoryentry
    WHERE source_id = ANY(%s) AND (kind, vendor_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
    ORDER BY last_seen_at
"""


class KnownName(NamedTuple):
    """A name that may be shown, and whether the vendor no longer lists its id."""

    text: str
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """The names of some ids by source, and without a source the name that was seen last."""

    by_source: Mapping[tuple[int, str, str], KnownName] = field(default_factory=dict)
    by_id: Mapping[tuple[str, str], KnownName] = field(default_factory=dict)

    def find(self, kind: NameKind, identifier: Any, source_id: int | None = None) -> KnownName | None:
        """Return the name of an id, None where there is none."""
        if source_id is not None:
            return self.by_source.get((source_id, kind, str(identifier)))
        return self.by_id.get((kind, str(identifier)))

    def get(self, kind: NameKind, identifier: Any, source_id: int | None = None) -> str:
        """Return the text of the name of an id, '' where there is none."""
        name = self.find(kind, identifier, source_id)
        return name.text if name else ""


def build_name_name(column: str) -> str:
    """Return the name of the column with the names of a column of ids: `project_id` gives `project_name`."""
    return f"{column.removesuffix('_id')}_name"


def list_name_columns(model: type[UsageRecord]) -> dict[str, tuple[str, NameKind]]:
    """Return the column and the kind of the ids of each column of names that is optional in records of a kind.

    Recipes have none: their records have the names of their time.
    """
    columns = {} if model is RecipeUsage else NAMED_COLUMNS[model]
    return {build_name_name(column): (column, kind) for column, kind in columns.items()}


def build_name_columns(model: type[UsageRecord], access: NameAccess) -> tuple[Column, ...]:
    """Return the optional columns of names of records of a kind; of people only where these are shown."""
    return tuple(
        Column(name, column, TEXT, NameLookup(kind, name_column))
        for name, (column, kind) in list_name_columns(model).items()
        if (name_column := access.get_column(kind))
    )


def select_usage_columns(
    model: type[UsageRecord], columns: Sequence[Column], params: Mapping[str, Any], access: NameAccess
) -> tuple[Column, ...]:
    """Return the columns that the parameter `fields` names, all of `columns` without it; names only on request.

    Raises ValidationError for a name that is unknown or repeated, or a column of people's names that is not shown.
    """
    withheld = {name for name, (_, kind) in list_name_columns(model).items() if not access.get_column(kind)}
    for name in list_values(params, "fields"):
        if name in withheld:
            raise ValidationError({"fields": [f"“{name}” is not shown: {access.refusal}"]})
    return select_columns(columns, params, build_name_columns(model, access))


def get_directory_version(source_ids: Collection[int] | None) -> int:
    """Return a number that grows whenever a name of these sources changes; None stands for all sources."""
    directories = Directory.objects.all() if source_ids is None else Directory.objects.filter(source__in=source_ids)
    return int(directories.aggregate(version=Sum("version"))["version"] or 0)


def find_names(ids: Mapping[NameKind, Iterable[Any]], source_ids: Collection[int], access: NameAccess) -> Names:
    """Return the names of ids of these sources that may be shown, in one query; none where there are no ids."""
    columns = {kind: column for kind in ids if (column := access.get_column(kind))}
    texts = {kind: {str(vendor_id) for vendor_id in ids[kind] if vendor_id not in (None, "")} for kind in columns}
    pairs = [(kind.value, vendor_id) for kind, vendor_ids in texts.items() for vendor_id in vendor_ids]
    if not pairs or not source_ids:
        return Names()
    # The columns and kinds are the portal's own constants.
    cases = " ".join(f"WHEN kind = '{kind}' THEN {column}" for kind, column in columns.items())
    with connection.cursor() as cursor:
        parameters: list[Any] = [list(source_ids), [kind for kind, _ in pairs], [vendor_id for _, vendor_id in pairs]]
        cursor.execute(SELECT.format(cases=cases), parameters)
        rows = [
            (source, kind, vendor_id, KnownName(name, is_gone))
            for source, kind, vendor_id, name, is_gone in cursor
            if name
        ]
    return Names(
        {(source, kind, vendor_id): name for source, kind, vendor_id, name in rows},
        {(kind, vendor_id): name for _, kind, vendor_id, name in rows},
    )


def find_record_names(records: Collection[UsageRecord], access: NameAccess) -> Names:
    """Return the names of the ids of some records of one kind, unless the records have names themselves."""
    first = next(iter(records), None)
    if first is None:
        return Names()
    ids = {
        kind: {getattr(record, column) for record in records}
        for column, kind in NAMED_COLUMNS[type(first)].items()
        if not hasattr(first, build_name_name(column))
    }
    return find_names(ids, {record.source_id for record in records}, access)


def select_entries(kind: NameKind, access: NameAccess) -> QuerySet[DirectoryEntry]:
    """Return the entries of a kind with the visible name as `shown`; none where names are hidden."""
    column = access.get_column(kind)
    if column is None:
        return DirectoryEntry.objects.none()
    return DirectoryEntry.objects.filter(kind=kind).annotate(shown=F(column)).exclude(shown="")


def annotate_shown_names(entries: QuerySet[DirectoryEntry], access: NameAccess) -> QuerySet[DirectoryEntry]:
    """Add to entries of any kind the visible name as `shown`, '' where it is hidden."""
    cases = [When(Q(kind=kind), then=F(column)) for kind in NameKind if (column := access.get_column(kind))]
    return entries.annotate(shown=Case(*cases, default=Value(""), output_field=TextField()))
