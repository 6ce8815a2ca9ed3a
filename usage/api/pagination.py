"""Keyset pagination: a page begins after the last row of the page before, so page 10,000 costs what page 1 costs.

`fetch_page` is the core, which the admin's lists share; `KeysetPaginator` is the API's paginator around it. DRF's own
CursorPagination never ends where more rows than a page has share the first value of the ordering.

An ordering ends in columns that make it total, and an index has the first of its columns in this order. A client that
follows the cursors gets every row that was there throughout exactly once, whatever is inserted meanwhile.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import urlencode

from django.core import signing
from django.db import models
from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import (
    TupleGreaterThan,
    TupleGreaterThanOrEqual,
    TupleLessThan,
    TupleLessThanOrEqual,
)
from django.http import HttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request

from usage.datetimes import parse_moment
from usage.models.records import ID_BLOCK_BITS, IdBlock
from usage.param_values import parse_count
from usage.standby import require_settled
from usage.watermark import get_watermark

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1000
# Parameters that may differ between the requests that share a cursor.
NOT_SIGNED: Final = frozenset({"cursor", "page_size", "count", "format", "ordering", "fields"})
# Parameters that the link to a neighbouring page leaves out: it does not count again.
NOT_LINKED: Final = frozenset({"cursor", "count"})

FIELDS_HELP: Final = "The columns of the answer, comma-separated, in this order. Default: all."
ORDERING_HELP: Final = "- reverses. A row that changes while the pages are read may move in the order."

# The order of changes: its index has a block of ids in place of each (usage/models/records.py).
CHANGES: Final = ("changed_at", "id")
# The schema of the days whose records a list has no more.
DROPPED_DAYS: Final = {
    "type": "object",
    "required": ["total", "days"],
    "properties": {
        "total": {"type": "integer"},
        "days": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["source", "day"],
                "properties": {"source": {"type": "string"}, "day": {"type": "string", "format": "date"}},
            },
        },
    },
}

Orderings = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Ordering:
    """A total order: `columns` from first to last significance, all in one direction."""

    columns: tuple[str, ...]
    descending: bool

    @classmethod
    def parse(cls, name: str, orderings: Orderings) -> Self:
        """Return the ordering of that name, `-name` for its reverse; raises ValidationError for an unknown ordering."""
        columns = orderings.get(name.removeprefix("-"))
        if columns is None:
            allowed = ", ".join(sign + allowed_name for allowed_name in orderings for sign in ("", "-"))
            raise ValidationError({"ordering": [f"“{name}” is not one of: {allowed}."]})
        return cls(columns, name.startswith("-"))

    def reverse(self) -> "Ordering":
        return Ordering(self.columns, not self.descending)

    def apply(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        expressions: list[Any] = [F(column) for column in self.columns]
        if self.columns == CHANGES:
            expressions.insert(1, IdBlock("id"))
        return queryset.order_by(*(key.desc() if self.descending else key.asc() for key in expressions))

    def filter_after(self, queryset: QuerySet[Any], position: Sequence[Any]) -> QuerySet[Any]:
        """Return the rows that come after a position in this order."""
        if self.columns == CHANGES:
            return self.filter_changes_after(queryset, *position)
        lookup = TupleLessThan if self.descending else TupleGreaterThan
        return queryset.filter(lookup(tuple(F(column) for column in self.columns), tuple(position)))

    def filter_changes_after(self, queryset: QuerySet[Any], changed_at: datetime, record: int) -> QuerySet[Any]:
        """Return the rows that come after a position in the order of changes: from the next id on, by their block.

        Of a comparison without equality the planner expects none of the rows that share `changed_at`, and sorts all.
        """
        lookup, first = (TupleLessThanOrEqual, record - 1) if self.descending else (TupleGreaterThanOrEqual, record + 1)
        return queryset.filter(
            lookup((F("changed_at"), F("id")), (changed_at, first)),
            lookup((F("changed_at"), IdBlock("id")), (changed_at, first >> ID_BLOCK_BITS)),
        )


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: after `position`, or ends before it if `backwards`.

    `position` has a value for each column of the ordering; () stands for the list's own beginning or end.
    `watermark`: the watermark of the first page, if the client follows changes. Later pages keep it, so that all
    pages together have what was settled when the first was read.
    """

    position: tuple[Any, ...]
    backwards: bool
    watermark: datetime | None = None

    def sign(self, key: str) -> str:
        """Return the cursor as text. It is valid only for `key`, which identifies the list, filters and ordering."""
        watermark = self.watermark and self.watermark.isoformat()
        return get_signer(key).sign_object([self.backwards, watermark, *(str(value) for value in self.position)])

    @classmethod
    def parse(cls, text: str, key: str, model: type[models.Model], ordering: Ordering) -> Self:
        """Return the cursor that was signed; raises ValidationError for any other text."""
        try:
            backwards, watermark, *values = get_signer(key).unsign_object(text)
        except (signing.BadSignature, ValueError):
            reason = "Damaged, or of another list, other filters or another ordering; begin again without it."
            raise ValidationError({"cursor": [reason]}) from None
        fields: list[Any] = [model._meta.get_field(column) for column in ordering.columns]
        position = tuple(field.to_python(value) for field, value in zip(fields, values, strict=True))
        return cls(position, backwards, watermark and datetime.fromisoformat(watermark))


def get_signer(key: str) -> signing.Signer:
    """Return the signer of the cursors of one list, its filters and its ordering."""
    return signing.Signer(salt=f"usage.api.pagination:{key}", sep=".")


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows that a reader took from a queryset, in the list's ordering, and whether there are more.

    `first`, `last`: the positions of the rows at the edges, () if there are no rows.
    """

    rows: Any
    first: tuple[Any, ...]
    last: tuple[Any, ...]
    has_more: bool


def read_instances(queryset: QuerySet[Any], keys: Sequence[str], size: int, *, reverse: bool) -> Batch:
    """Return the first `size` rows as instances, in the reverse order if `reverse`; `keys` name the position."""
    rows = list(queryset[: size + 1])  # a further row shows that there are more
    has_more = len(rows) > size
    del rows[size:]
    if reverse:
        rows.reverse()
    positions = [tuple(getattr(row, key) for key in keys) for row in rows]
    return Batch(rows, *((positions[0], positions[-1]) if positions else ((), ())), has_more)


@dataclass(frozen=True, slots=True)
class KeysetPage:
    """The rows of a page in the list's ordering, and whether there are pages before and after it.

    `first`, `last`: the positions of the rows at the edges, () if there are no rows.
    """

    rows: Any
    first: tuple[Any, ...]
    last: tuple[Any, ...]
    has_previous: bool
    has_next: bool

    @property
    def previous_cursor(self) -> Cursor | None:
        """The cursor of the page before, None if there is no such page."""
        return Cursor(self.first, backwards=True) if self.first and self.has_previous else None

    @property
    def next_cursor(self) -> Cursor | None:
        """The cursor of the page after, None if there is no such page."""
        return Cursor(self.last, backwards=False) if self.last and self.has_next else None


def fetch_page(
    queryset: QuerySet[Any],
    ordering: Ordering,
    page_size: int,
    cursor: Cursor | None = None,
    read_batch: Callable[..., Batch] = read_instances,
) -> KeysetPage:
    """Return the page at the cursor, the first page for None; `read_batch` has the signature of `read_instances`."""
    backwards = cursor is not None and cursor.backwards
    continued = cursor is not None and bool(cursor.position)
    order = ordering.reverse() if backwards else ordering
    if cursor is not None and continued:
        queryset = order.filter_after(queryset, cursor.position)
    batch = read_batch(order.apply(queryset), ordering.columns, page_size, reverse=backwards)
    has_previous, has_next = (batch.has_more, continued) if backwards else (continued, batch.has_more)
    return KeysetPage(batch.rows, batch.first, batch.last, has_previous, has_next)


@dataclass(frozen=True, slots=True)
class PageParams:
    """The query parameters of a list besides its filters."""

    ordering_name: str
    ordering: Ordering
    page_size: int
    with_count: bool

    @classmethod
    def parse(cls, request: Request, orderings: Orderings, default: str) -> Self:
        """Return the parameters of a request; raises ValidationError that names every invalid parameter."""
        params, errors = request.query_params, dict[str, Any]()
        name, size = params.get("ordering", default), DEFAULT_PAGE_SIZE
        ordering = Ordering((), descending=False)
        try:
            ordering = Ordering.parse(name, orderings)
        except ValidationError as error:
            errors.update(error.detail)  # type: ignore[arg-type]
        try:
            size = parse_count(params.get("page_size", str(size)), MAX_PAGE_SIZE)
        except ValueError as error:
            errors["page_size"] = [str(error)]
        if params.get("count", "exact") != "exact":
            errors["count"] = ["Only count=exact is understood."]
        if errors:
            raise ValidationError(errors)
        return cls(name, ordering, size, "count" in params)


class KeysetPaginator(BasePagination):
    """Pages of a list, as JSON texts.

    The view has `orderings`, the name of the default `ordering`, and `read_batch` (see `fetch_page`), whose rows are
    one text, JSON objects with commas between them, and `get_last_page_members`. If the view has `followed`, the name
    of a column, and the request has `updated_since`, the pages end before the watermark (usage/watermark.py).
    """

    query_params: Final = ("cursor", "page_size", "ordering", "count", "fields")

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        """Return the rows of the page as one text."""
        self.request = request
        params = PageParams.parse(request, view.orderings, view.ordering)
        self.key = self.get_key(params.ordering_name)
        text = request.query_params.get("cursor")
        cursor = None if text is None else Cursor.parse(text, self.key, queryset.model, params.ordering)
        self.watermark = cursor.watermark if cursor else read_watermark(request, view)
        self.view = view
        if self.watermark is not None:
            require_settled(self.watermark)  # that of the first page, which another server may have given
        queryset = filter_settled(queryset, view, self.watermark)
        self.count = queryset.count() if params.with_count else None
        self.page = fetch_page(queryset, params.ordering, params.page_size, cursor, view.read_batch)
        return self.page.rows

    def get_paginated_response(self, data: str) -> HttpResponse:  # type: ignore[override]
        """Return the page as JSON around the text of its rows."""
        next_cursor, previous_cursor = map(self.sign_cursor, (self.page.next_cursor, self.page.previous_cursor))
        head: dict[str, Any] = {
            **(self.view.get_last_page_members() if next_cursor is None else {}),
            "next": self.build_link(next_cursor),
            "previous": self.build_link(previous_cursor),
            "next_cursor": next_cursor,
            "previous_cursor": previous_cursor,
        }
        if self.count is not None:
            head["count"] = self.count
        if self.watermark is not None:
            head["settled_until"] = self.watermark.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return HttpResponse(f'{json.dumps(head)[:-1]}, "results": [{data}]}}', content_type="application/json")

    def get_key(self, ordering_name: str) -> str:
        """Return what a cursor is valid for: the list, its filters and its ordering."""
        params = self.request.query_params
        filters = sorted((name, params.getlist(name)) for name in params if name not in NOT_SIGNED)
        return repr((self.request.path, ordering_name, filters))

    def sign_cursor(self, cursor: Cursor | None) -> str | None:
        """Return a cursor as text, with the watermark of this page."""
        return replace(cursor, watermark=self.watermark).sign(self.key) if cursor else None

    def build_link(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        # Encoded anew: what the client sent unescaped, Django would escape in another encoding than it was read in.
        linked = ((name, values) for name, values in self.request.query_params.lists() if name not in NOT_LINKED)
        query = urlencode([*linked, ("cursor", cursor)], doseq=True)
        return self.request.build_absolute_uri(f"{self.request.path}?{query}")

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        orderings = [sign + name for name in view.orderings for sign in ("", "-")]
        size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE}
        names = ", ".join(getattr(view, "columns_on_request", ()))
        on_request = f" Only where they are named: {names}." if names else ""
        parameters = {
            "cursor": ({"type": "string"}, "Where the page begins: next_cursor or previous_cursor of another page."),
            "page_size": (size, "How many rows a page has."),
            "ordering": ({"type": "string", "enum": orderings, "default": view.ordering}, ORDERING_HELP),
            "count": ({"type": "string", "enum": ["exact"]}, "exact: also count all rows, which takes time."),
            "fields": ({"type": "string"}, f"{FIELDS_HELP}{on_request}"),
        }
        return [
            {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
            for name, (schema, text) in parameters.items()
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        cursor = {"type": ["string", "null"]}
        link = {**cursor, "format": "uri"}
        neighbours = {"next": link, "previous": link, "next_cursor": cursor, "previous_cursor": cursor}
        count = {"type": "integer", "description": "With count=exact: all rows that the filters let through."}
        settled_until = {
            "type": "string",
            "format": "date-time",
            "description": "With updated_since: the pages hold every change before it; the next updated_since.",
        }
        archived = "On the last page: days of the range whose records are archived. An export has them."
        pruned = "On the last page: days of the range whose records were dropped for their age. Sums may have them."
        members = {
            "count": count,
            "settled_until": settled_until,
            "archived_days": DROPPED_DAYS | {"description": archived},
            "pruned_days": DROPPED_DAYS | {"description": pruned},
            "results": schema,
        }
        return {"type": "object", "required": [*neighbours, "results"], "properties": neighbours | members}


def read_watermark(request: Request, view: Any) -> datetime | None:
    """Return the current watermark, None if the request does not follow changes.

    It does not go back behind `updated_since`: a client that got it from the primary, or another standby, does not
    begin earlier.
    """
    if not view.followed or "updated_since" not in request.query_params:
        return None
    since = parse_moment(request.query_params["updated_since"])
    if isinstance(since, datetime):
        require_settled(since)
    return get_watermark()


def filter_settled(queryset: QuerySet[Any], view: Any, watermark: datetime | None) -> QuerySet[Any]:
    """Leave out what changed at the watermark or later: the next request, from the watermark on, returns it."""
    return queryset.filter(**{f"{view.followed}__lt": watermark}) if watermark else queryset
