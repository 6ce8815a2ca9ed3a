"""Records by a pasted id: each look-up reads an index, so it takes milliseconds however many records there are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.db.models import BigIntegerField, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from portal.incidents.models import Incident
from portal.search.hits import Hit
from sync.models import SyncRun
from usage.api.access import filter_by_staff_scope, get_staff_scope
from usage.formatting import format_date, format_instant
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source, UsageRecord
from usage.param_values import write_value


@dataclass(frozen=True, slots=True)
class IdColumn:
    """A column of ids that an index leads with, and the label of an id; `is_record`: an id names a single record."""

    kind: type[UsageRecord]
    name: str
    label: str
    is_record: bool = False


COLUMNS: Final = (
    IdColumn(EnvironmentUsage, "record_id", "Run", is_record=True),
    IdColumn(EnvironmentUsage, "environment_id", "Environment"),
    IdColumn(EnvironmentUsage, "project_id", "Project"),
    IdColumn(EnvironmentUsage, "user_id", "User"),
    IdColumn(ResourceUsage, "resource_id", "Resource"),
    IdColumn(ResourceUsage, "project_id", "Project"),
    IdColumn(RecipeUsage, "recipe_id", "Recipe"),
    IdColumn(RecipeUsage, "workspace_id", "Workspace"),
    IdColumn(RecipeUsage, "folder_id", "Folder"),
    *(
        IdColumn(kind, "id", f"Record of {kind._meta.verbose_name_plural}", is_record=True)
        for kind in (EnvironmentUsage, ResourceUsage, RecipeUsage)
    ),
)
# What else has a number, and its page.
NUMBERED: Final[tuple[tuple[type[Any], str], ...]] = ((SyncRun, "Run of the sync"), (Incident, "Incident"))


def find_ids(request: HttpRequest, text: str) -> Iterator[Hit]:
    """Yield the records that have exactly this id, within what this person may see."""
    for column in COLUMNS:
        if request.user.has_perm(f"usage.view_{column.kind._meta.model_name}"):
            yield from find_records(request, column, text)
    if is_bigint(text):
        for model, label in NUMBERED:
            yield from find_numbered(request, model, label, text)


def find_records(request: HttpRequest, column: IdColumn, text: str) -> Iterator[Hit]:
    """Yield the latest record with an id in a column, and the list of all of them."""
    values = list_values(column, text)
    if not values:
        return
    rows: QuerySet[Any] = column.kind.objects.filter(**{f"{column.name}__in": values})
    if column.name == "record_id":  # its index begins with the source
        rows = rows.filter(source_id__in=list_source_ids(request))
    rows = filter_by_staff_scope(rows, request, "source_id").select_related("source")
    record = rows.order_by(f"-{column.kind.instant}", "-id").first()
    if record is None:
        return
    meta = column.kind._meta
    url = reverse(f"admin:usage_{meta.model_name}_change", args=[record.pk])
    detail = f"{record.source.slug}, {'' if column.is_record else 'latest record '}{describe_instant(record)}"
    links = []
    if not column.is_record:
        query = urlencode({column.name: write_value(str(getattr(record, column.name)))})
        links = [("All its records", f"{reverse(f'admin:usage_{meta.model_name}_changelist')}?{query}")]
    yield Hit(f"{column.label} {text}", detail, url, links)


def list_values(column: IdColumn, text: str) -> list[Any]:
    """Return what an id may be stored as: numbers as such, a UUID as the vendors write it, in lower case."""
    if isinstance(column.kind._meta.get_field(column.name), BigIntegerField):
        return [int(text)] if is_bigint(text) else []
    try:
        return list(dict.fromkeys((text, str(UUID(text)))))
    except ValueError:
        return [text]


def is_bigint(text: str) -> bool:
    """Return whether a text is a number that fits a column of ids."""
    return text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= BigIntegerField.MAX_BIGINT


def list_source_ids(request: HttpRequest) -> list[int]:
    """Return the ids of the sources that this person may see."""
    scope = get_staff_scope(request)
    return list(Source.objects.order_by().values_list("pk", flat=True)) if scope is None else sorted(scope)


def describe_instant(record: UsageRecord) -> str:
    """Return the day or the instant of a record."""
    instant: Any = getattr(record, record.instant)
    return format_date(instant) if record.instant == "day" else format_instant(instant)


def find_numbered(request: HttpRequest, model: type[Any], label: str, text: str) -> Iterator[Hit]:
    """Yield what has this number and a page that this person may open."""
    model_admin: Any = admin.site.get_model_admin(model)
    if not model_admin.has_view_permission(request):
        return
    row = model_admin.get_queryset(request).filter(pk=int(text)).first()
    if row is not None:
        meta = model._meta
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
        yield Hit(f"{label} {text}", str(row), url)
