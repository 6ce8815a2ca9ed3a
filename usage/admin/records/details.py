"""A record's page: every field, what it is worth, what it said before, and what it has something in common with."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from usage.admin.display import NOTHING, at, exact, laid_out
from usage.admin.records.cells import pairs
from usage.coverage import trust_in_words
from usage.explore.kinds import label_of
from usage.models import KINDS, SourceDay, UsageRecord
from usage.revisions import Revision, revisions_of

IN_THE_PORTAL: Final = ("source", "day", "first_seen_at", "changed_at", "revision", "withdrawn_at", "id")
JSON: Final = ("details", "tags", "extra")
API_NAMES: Final = {kind: name for name, kind in KINDS.items()}
Show = Callable[[Any], SafeString | str]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its column, what people call it, how it is shown, and what to copy ('' for nothing worth it)."""

    name: str
    label: str
    shown: SafeString | str
    copied: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Fields that belong together."""

    title: str
    fields: Sequence[Field]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to other records: its words and the filters that find them."""

    words: str
    address: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag and the list of the records that have it."""

    key: str
    value: str
    address: str


@dataclass(frozen=True, slots=True)
class Before:
    """An earlier version: its number, when it was replaced, and (field, old, new) of what the next one changed."""

    number: int
    replaced_at: str
    changes: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Everything that a record's page shows; `before` only to who may see what records said before."""

    sections: Sequence[Section]
    tags: Sequence[Tag]
    extra: SafeString | str
    ways: Sequence[Way]
    day: SourceDay | None
    day_address: str
    trust: str
    before: Sequence[Before]
    api: str


def page_of(
    request: HttpRequest, record: UsageRecord, shows: Mapping[str, Show], ways: Sequence[tuple[str, dict[str, str]]]
) -> RecordPage:
    """Return the page of a record; `shows`: the columns that are shown in a manner of their own."""
    day = SourceDay.objects.filter(source=record.source_id, day=record.day).first()
    revisions = revisions_of(record) if request.user.has_perm("usage.view_recordrevision") else []
    may_see_day = day is not None and request.user.has_perm("usage.view_sourceday")
    return RecordPage(
        sections=sections(record, shows),
        tags=[Tag(key, value, listed(record, {"tag": f"{key}:{value}"})) for key, value in pairs(tags_of(record))],
        extra=laid_out(record.extra),
        ways=[
            Way(words, listed(record, filters))
            for words, filters in ways
            if all(value and "," not in value for value in filters.values())
        ],
        day=day,
        day_address=reverse("admin:usage_sourceday_change", args=[day.pk]) if day and may_see_day else "",
        trust=trust_in_words(day) if day else "Its day is not held.",
        before=[before(revision) for revision in revisions],
        api=reverse(f"api:{API_NAMES[type(record)]}-detail", args=[record.pk]),
    )


def sections(record: UsageRecord, shows: Mapping[str, Show]) -> list[Section]:
    """Return every field but the tags and `extra`, which are shown apart."""
    columns = [field.name for field in record._meta.concrete_fields]
    own = [name for name in columns if name not in IN_THE_PORTAL and name not in JSON]
    made = [Section("As the vendor reports it", [field_of(record, name, shows) for name in own])]
    details: Mapping[str, Any] = getattr(record, "details", {})
    if details:
        said = [Field(name, label_of(name), text_of(value), str(value)) for name, value in details.items()]
        made.append(Section("Details of the resource", said))
    made.append(Section("In the portal", [field_of(record, name, shows) for name in IN_THE_PORTAL]))
    return made


def field_of(record: UsageRecord, name: str, shows: Mapping[str, Show]) -> Field:
    """Return one field of a record; ids and names can be copied."""
    value = getattr(record, name)
    shown = shows[name](record) if name in shows else text_of(value)
    copied = str(value) if name.endswith(("_id", "_key", "_name")) else ""
    title = "Portal id" if name == "id" else id_label(name)
    return Field(name, title, shown, copied if value not in (None, "") else "")


def id_label(name: str) -> str:
    """Return what a column is called where its id is meant."""
    return capfirst(name.replace("_", " "))


def text_of(value: Any) -> SafeString | str:
    """Return a value as a person reads it, all of it."""
    if value in (None, "", [], {}):
        return NOTHING
    match value:
        case Decimal():
            return exact(value)
        case datetime():
            return exact_instant(value)
        case dict() | list():
            return format_html("<code>{}</code>", json.dumps(value, ensure_ascii=False))
    return str(value)


def exact_instant(value: datetime) -> str:
    """Return an instant in UTC to its last digit."""
    digits = f"{value.microsecond:06d}".rstrip("0")
    return f"{at(value)}{'.' if digits else ''}{digits} UTC"


def tags_of(record: UsageRecord) -> Mapping[str, Any]:
    """Return the record's tags, of a kind that has such."""
    found: Mapping[str, Any] = getattr(record, "tags", {})
    return found


def listed(record: UsageRecord, filters: Mapping[str, str]) -> str:
    """Return the address of the list of the record's source with these filters."""
    address = reverse(f"admin:usage_{record._meta.model_name}_changelist")
    return f"{address}?{urlencode({'source': record.source.slug, **filters})}"


def before(revision: Revision) -> Before:
    """Return an earlier version as the page shows it."""
    changes = [(id_label(one.field), text_of(one.old), text_of(one.new)) for one in revision.changes]
    return Before(revision.number, f"{at(revision.replaced_at)} UTC", changes)
