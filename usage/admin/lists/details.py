"""A record's page: every field, the status of its day, its earlier versions, and links to related records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from usage.admin.display import render_json
from usage.admin.lists.cells import iterate_tags, render_shown_name
from usage.api.access import get_staff_name_access
from usage.directory.lookup import NAMED_COLUMNS, Names, build_name_name, find_record_names
from usage.formatting import NOTHING, format_exact_timestamp, format_number, format_timestamp
from usage.labels import get_label
from usage.links import PageLink
from usage.models import KIND_NAMES, SourceDay, UsageRecord
from usage.param_values import write_tag, write_value
from usage.revisions import Revision, list_revisions

PORTAL_COLUMNS: Final = ("source", "day", "first_seen_at", "changed_at", "revision", "withdrawn_at", "id")
JSON_COLUMNS: Final = ("details", "tags", "extra")
encode = msgspec.json.Encoder(decimal_format="number").encode
Renderer = Callable[[Any], SafeString | str]
# A link to related records: its label, and the filters that find them.
Related = tuple[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of a record; `can_copy`: its value has a button that copies it."""

    name: str
    label: str
    value: SafeString | str
    can_copy: bool = False


def build_page(
    request: HttpRequest, record: UsageRecord, renderers: Mapping[str, Renderer], related: Sequence[Related]
) -> dict[str, Any]:
    """Return what the page of a record shows; `renderers`: of the columns that are not shown as plain values.

    `sections`: (title, fields). `versions`: those before this one, for a person who may see them; each with its number,
    when it was replaced, and (field, old, new) of what the next version changed.
    """
    day = SourceDay.objects.with_status().filter(source=record.source_id, day=record.day).first()
    revisions = list_revisions(record) if request.user.has_perm("usage.view_recordrevision") else []
    may_open_day = day is not None and request.user.has_perm("usage.view_sourceday")
    names = find_record_names([record], get_staff_name_access(request))
    return {
        "sections": build_sections(record, renderers, names),
        "tags": [
            PageLink(f"{key}: {value}", build_list_url(record, {"tag": write_tag(key, value)}))
            for key, value in iterate_tags(get_json(record, "tags"))
        ],
        "extra": render_json(record.extra),
        "related": [
            PageLink(label, build_list_url(record, {name: write_value(value) for name, value in filters.items()}))
            for label, filters in related
            if all(filters.values())
        ],
        "day": day,
        "day_url": reverse("admin:usage_sourceday_change", args=[day.pk]) if day and may_open_day else "",
        "status": day.describe_status() if day else "Its day is not stored.",
        "versions": [
            (revision.number, f"{format_timestamp(revision.replaced_at)} UTC", list(format_changes(revision)))
            for revision in revisions
        ],
        "api_url": reverse(f"api:{KIND_NAMES[type(record)]}-detail", args=[record.pk]),
    }


def build_sections(
    record: UsageRecord, renderers: Mapping[str, Renderer], names: Names
) -> list[tuple[str, list[FieldRow]]]:
    """Return every field but the tags and `extra`, which are shown apart; after an id its name of today."""
    columns = [field.name for field in record._meta.concrete_fields]
    vendor_columns = [name for name in columns if name not in PORTAL_COLUMNS and name not in JSON_COLUMNS]
    fields = [row for name in vendor_columns for row in build_named_fields(record, name, renderers, names)]
    sections = [("From the vendor", fields)]
    if details := get_json(record, "details"):
        fields = [FieldRow(name, get_label(name), format_value(value), bool(value)) for name, value in details.items()]
        sections.append(("Details of the resource", fields))
    sections.append(("In the portal", [build_field(record, name, renderers) for name in PORTAL_COLUMNS]))
    return sections


def build_named_fields(
    record: UsageRecord, name: str, renderers: Mapping[str, Renderer], names: Names
) -> Iterator[FieldRow]:
    """Yield one field of a record, and after an id its name of today where the record itself has no name."""
    yield build_field(record, name, renderers)
    kind, name_column = NAMED_COLUMNS[type(record)].get(name), build_name_name(name)
    directory_name = names.find(kind, getattr(record, name), record.source_id) if kind else None
    if directory_name and not hasattr(record, name_column):
        yield FieldRow(
            name_column,
            get_column_label(name_column),
            render_shown_name(directory_name),
            can_copy=not directory_name.is_gone,
        )


def build_field(record: UsageRecord, name: str, renderers: Mapping[str, Renderer]) -> FieldRow:
    """Return one field of a record; ids and names have a copy button."""
    value = getattr(record, name)
    text = renderers[name](record) if name in renderers else format_value(value)
    can_copy = name.endswith(("_id", "_key", "_name")) and value not in (None, "")
    return FieldRow(name, "Portal id" if name == "id" else get_column_label(name), text, can_copy)


def get_column_label(name: str) -> str:
    """Return the label of a column on a page that also shows names beside ids: `Project id`."""
    return capfirst(name.replace("_", " "))


def format_value(value: Any) -> SafeString | str:
    """Return a value of any type with all its digits."""
    if value in (None, "", [], {}):
        return NOTHING
    match value:
        case Decimal():
            return format_number(value)
        case datetime():
            return format_exact_timestamp(value)
        case dict() | list():
            return format_html("<code>{}</code>", write_json(value))
    return str(value)


def write_json(value: Any) -> str:
    """Return JSON in one line; earlier versions of records have decimals in it, which keep all their digits."""
    return msgspec.json.format(encode(value), indent=0).decode()


def get_json(record: UsageRecord, column: str) -> Mapping[str, Any]:
    """Return a JSON column, {} of a kind that has no such column."""
    value: Mapping[str, Any] = getattr(record, column, {})
    return value


def build_list_url(record: UsageRecord, filters: Mapping[str, str]) -> str:
    """Return the address of the list of the record's source with these filters, written as an address has them."""
    url = reverse(f"admin:usage_{record._meta.model_name}_changelist")
    return f"{url}?{urlencode({'source': record.source.slug, **filters})}"


def format_changes(revision: Revision) -> Iterator[tuple[str, SafeString | str, SafeString | str]]:
    """Yield (field, old, new) of what replaced an earlier version."""
    for change in revision.changes:
        yield get_column_label(change.field), format_value(change.old), format_value(change.new)
