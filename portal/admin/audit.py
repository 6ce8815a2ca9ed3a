"""The audit log's pages: who changed what, when, from where, and how it was before."""

import json
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.audit.models import Action, AuditEntry, Kind
from usage.access import staff_scope
from usage.admin.base import ReadOnlyAdmin
from usage.admin.display import NOTHING, Table, at, badge
from usage.admin.filters import RangeFilter, exact, one_of
from usage.columns import columns_at

TONES = {Action.ADDED: "good", Action.CHANGED: "busy", Action.DELETED: "bad"}
SHOWN = 4  # columns that a line of the list names; the entry's page has all


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Changes, the latest first; who is limited to sources sees those of these sources themselves alone."""

    source_path = "source_id"
    keyset = ("id",)
    row_is, rows_are = "change", "changes"
    exported = columns_at(
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
    list_display = ("at_shown", "who_shown", "action_shown", "kind", "object_name", "changed", "from_shown")
    list_filter = (
        one_of("kind", "what", Kind),
        one_of("action", "action", Action),
        exact(AuditEntry, "who"),
        exact(AuditEntry, "object_name"),
        ("at", RangeFilter),
    )
    offered_lookups = ("kind", "action", "who", "object_name", "at__range__gte", "at__range__lte")
    ordering = ("-id",)
    actions = None
    fields = ("at_shown", "who_shown", "action_shown", "kind", "object_name", "url", "address", "program")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out that a token or a group was given a source, for who may not know of all tokens and groups."""
        entries = super().get_queryset(request)
        return entries if staff_scope(request) is None else entries.filter(kind=Kind.SOURCE)

    def page_tables(self, request: HttpRequest, obj: AuditEntry) -> Sequence[Table]:
        """What differs, a line for each column."""
        rows = [
            [label_of(column), value_of(before), value_of(after)]
            for column, (before, after) in sorted(obj.changes.items())
        ]
        return (Table("What changed", ("setting", "before", "after"), rows, "Nothing that is told."),)

    @admin.display(description="when (UTC)")
    def at_shown(self, entry: AuditEntry) -> str:
        """When."""
        return at(entry.at)

    @admin.display(description="who")
    def who_shown(self, entry: AuditEntry) -> str:
        """The person, or for a change outside of a page the program."""
        return entry.who or ("nobody signed in" if entry.url else entry.program)

    @admin.display(description="action")
    def action_shown(self, entry: AuditEntry) -> SafeString:
        """What was done."""
        return badge(entry.get_action_display(), TONES[Action(entry.action)])

    @admin.display(description="what changed")
    def changed(self, entry: AuditEntry) -> SafeString | str:
        """The first of the columns that differ, before and after."""
        if entry.action != Action.CHANGED:
            return ""
        told = sorted(entry.changes.items())
        lines = format_html_join(
            "; ", "{}: {} → {}", ((label_of(name), value_of(old), value_of(new)) for name, (old, new) in told[:SHOWN])
        )
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        return format_html('<span class="prose">{}{}</span>', lines, more)

    @admin.display(description="from")
    def from_shown(self, entry: AuditEntry) -> str:
        """The address of the request, or the program."""
        return entry.address or entry.program


def label_of(column: str) -> str:
    """Return a column's name in words."""
    return column.removesuffix("_id").replace("_", " ")


def value_of(value: Any) -> str:
    """Return what a column held, in words; `–` for nothing."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    return json.dumps(value, ensure_ascii=False)
