"""The pages of the audit log."""

import json
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.accounts.audit.models import Action, AuditEntry, ObjectKind
from usage.admin.base import ReadOnlyAdmin
from usage.admin.display import Table, build_list_column, render_badge
from usage.admin.filters import RangeListFilter, build_column_filter, build_exact_filter
from usage.api.access import get_staff_scope
from usage.columns import build_columns
from usage.formatting import NOTHING, format_timestamp

TONES = {Action.ADDED: "good", Action.CHANGED: "busy", Action.DELETED: "bad", Action.EMPTIED: "bad"}
LISTED_COLUMNS = 4  # in a row of the list; the page of an entry has all


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Changes, the latest first; a user limited to sources sees only changes of these sources."""

    source_path = "source_id"
    keyset = ("id",)
    row_name, row_name_plural = "change", "changes"
    exported = build_columns(
        AuditEntry,
        "id",
        "at",
        "action",
        "kind",
        "object_id",
        "object_name",
        "changes",
        "who",
        "address",
        "url",
        "program",
    )
    list_display = ("at_shown", "who_shown", "action_shown", "kind", "object_name", "changed_columns", "from_shown")
    list_filter = (
        build_column_filter("kind", "what", ObjectKind),
        build_column_filter("action", "action", Action),
        build_exact_filter(AuditEntry, "who"),
        build_exact_filter(AuditEntry, "object_name"),
        ("at", RangeListFilter),
    )
    allowed_lookups = ("kind", "action", "who", "object_name", "at__range__gte", "at__range__lte")
    ordering = ("-id",)
    actions = None
    fields = ("at_shown", "who_shown", "action_shown", "kind", "object_name", "url", "address", "program")
    at_shown = build_list_column("when (UTC)", lambda entry: format_timestamp(entry.at))
    who_shown = build_list_column(
        "who", lambda entry: entry.who or ("nobody signed in" if entry.url else entry.program)
    )
    from_shown = build_list_column("from", lambda entry: entry.address or entry.program)
    action_shown = build_list_column(
        "action", lambda entry: render_badge(entry.get_action_display(), TONES[Action(entry.action)])
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the entries; for a user limited to sources, without those of tokens and groups."""
        entries = super().get_queryset(request)
        return entries if get_staff_scope(request) is None else entries.filter(kind=ObjectKind.SOURCE)

    def get_page_tables(self, request: HttpRequest, obj: AuditEntry) -> Sequence[Table]:
        rows = [
            [format_column(column), format_value(before), format_value(after)]
            for column, (before, after) in sorted(obj.changes.items())
        ]
        return (Table("What changed", ("setting", "before", "after"), rows, "Nothing that is logged."),)

    @admin.display(description="what changed")
    def changed_columns(self, entry: AuditEntry) -> SafeString | str:
        """The first changed columns, before and after."""
        if entry.action not in {Action.CHANGED, Action.EMPTIED}:
            return ""
        changes = sorted(entry.changes.items())
        lines = format_html_join(
            "; ",
            "{}: {} → {}",
            (
                (format_column(name), format_value(old), format_value(new))
                for name, (old, new) in changes[:LISTED_COLUMNS]
            ),
        )
        remainder = f" and {len(changes) - LISTED_COLUMNS} more" if len(changes) > LISTED_COLUMNS else ""
        return format_html('<span class="prose">{}{}</span>', lines, remainder)


def format_column(column: str) -> str:
    """Return a column's name as a label; what is no name of a column stays as it is."""
    if not column.isidentifier():
        return column
    return column.removesuffix("_id").replace("_", " ")


def format_value(value: Any) -> str:
    """Return a value of `AuditEntry.changes` as text; `–` for none."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    return json.dumps(value, ensure_ascii=False)
