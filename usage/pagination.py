"""Keyset pagination: a page begins behind the last row of the one before, so page 10,000 costs what page 1 costs.

An ordering is a tuple of columns that ends in a unique one and that an index holds in this order. A cursor is
where a page ends: the values of those columns, signed together with the question it belongs to. A walk returns
every row that was there throughout exactly once, whatever is inserted meanwhile.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlencode

from django.core import signing
from django.db import connections
from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request

from usage.columns import Column, as_page
from usage.settled import settled_until

DEFAULT_PAGE_SIZE = 100
LARGEST_PAGE = 1000
# What may differ between the requests of one walk.
NOT_OF_THE_QUESTION = frozenset({"cursor", "page_size", "count", "format", "ordering", "fields"})

# What the link to a neighbouring page does not take over.
OF_ONE_PAGE = frozenset({"cursor", "count"})

FIELDS = "The columns of the answer, comma-separated, in the order they shall have. Default: all."
ORDERING = "- reverses. A row that changes during a walk may move in it, in any order but that by id."

Orderings = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Ordering:
    """A total order: `columns` from first to last significance, all in one direction."""

    columns: tuple[str, ...]
    descending: bool

    @classmethod
    def named(cls, name: str, offered: Orderings) -> Self:
        """Return the ordering of that name, `-name` for its reverse."""
        return cls(offered[name.removeprefix("-")], name.startswith("-"))

    @staticmethod
    def misnamed(name: str, offered: Orderings) -> str:
        """Return why there is no ordering of that name, or ''."""
        allowed = [sign + known for known in offered for sign in ("", "-")]
        return "" if name in allowed else f"“{name}” is not one of: {', '.join(allowed)}."

    def reversed(self) -> "Ordering":
        """Return the same order from its other end."""
        return Ordering(self.columns, not self.descending)

    def apply(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in this order."""
        return queryset.order_by(*(f"-{column}" if self.descending else column for column in self.columns))

    def after(self, queryset: QuerySet[Any], position: Sequence[Any]) -> QuerySet[Any]:
        """Return the rows that come after a position in this order."""
        lookup = TupleLessThan if self.descending else TupleGreaterThan
        return queryset.filter(lookup(tuple(F(column) for column in self.columns), tuple(position)))


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: after `position`, or, walking backwards, before it.

    `settled`: the settled mark of the walk (usage/settled.py) where it follows changes; it stays that of the first
    page, so that a walk in any order gives what had settled when it began.
    """

    position: tuple[Any, ...]
    backwards: bool
    settled: datetime | None = None

    def signed(self, question: str) -> str:
        """Return the cursor as text that is good for `question` only."""
        settled = self.settled and self.settled.isoformat()
        return signer(question).sign_object([self.backwards, settled, *(str(value) for value in self.position)])

    @classmethod
    def read(cls, text: str, question: str, queryset: QuerySet[Any], ordering: Ordering) -> Self:
        """Return the cursor that was signed; raises ValidationError for any other text."""
        try:
            backwards, settled, *said = signer(question).unsign_object(text)
        except (signing.BadSignature, ValueError):
            reason = "Damaged, or of another list, other filters or another ordering; begin again without it."
            raise ValidationError({"cursor": [reason]}) from None
        meta = queryset.model._meta
        fields = [meta.get_field(column) for column in ordering.columns]
        position = tuple(field.to_python(value) for field, value in zip(fields, said, strict=True))
        return cls(position, backwards, settled and datetime.fromisoformat(settled))


def signer(question: str) -> signing.Signer:
    """Return what signs the cursors of one question."""
    return signing.Signer(salt=f"usage.pagination:{question}", sep=".")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows, already JSON text with commas between them, and the cursors to its neighbours.

    `count` where it was asked for; `settled` where changes are followed.
    """

    rows: bytes
    next: str | None
    previous: str | None
    count: int | None = None
    settled: datetime | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """What a request asks of a list besides its filters: the order, the size of a page, and where it begins.

    `followed`: the column of the last change where the request follows changes by `updated_since`, else ''.
    """

    request: Request
    name: str
    ordering: Ordering
    page_size: int
    counted: bool
    followed: str = ""

    @classmethod
    def asked(cls, request: Request, offered: Orderings, default: str, changed: str = "") -> Self:
        """Return the walk that a request asks for; raises ValidationError that names what is wrong."""
        said = request.query_params
        name, size = said.get("ordering", default), said.get("page_size", str(DEFAULT_PAGE_SIZE))
        problems = {
            "ordering": Ordering.misnamed(name, offered),
            "page_size": not_a_page_size(size),
            "count": "" if said.get("count", "exact") == "exact" else "Only count=exact is understood.",
        }
        if any(problems.values()):
            raise ValidationError({parameter: [problem] for parameter, problem in problems.items() if problem})
        followed = changed if "updated_since" in said else ""
        return cls(request, name, Ordering.named(name, offered), int(size), "count" in said, followed)

    @property
    def question(self) -> str:
        """What a cursor belongs to: the list, its filters and its ordering."""
        said = self.request.query_params
        filters = sorted((name, said.getlist(name)) for name in said if name not in NOT_OF_THE_QUESTION)
        return repr((self.request.path, self.name, filters))

    def page(self, queryset: QuerySet[Any], columns: Sequence[Column]) -> Page:
        """Return the page that is asked for, in one query, or two where it asks for the count."""
        text = self.request.query_params.get("cursor")
        cursor = Cursor.read(text, self.question, queryset, self.ordering) if text is not None else None
        backwards = cursor is not None and cursor.backwards
        order = self.ordering.reversed() if backwards else self.ordering
        mark = cursor.settled if cursor else self.mark()
        queryset = self.settled(queryset, mark)
        rest = order.after(queryset, cursor.position) if cursor else queryset
        # One row more than the page holds tells whether there is another page.
        found = fetched(
            order.apply(rest),
            columns,
            order.columns,
            self.page_size,
            backwards=backwards,
            of_position=len(cursor.position) if cursor else 0,
        )
        edges = (found.last, found.first) if backwards else (found.first, found.last)
        return Page(
            rows=found.text,
            next=self.beyond(edges[1], mark, backwards=False, there=found.more or backwards),
            previous=self.beyond(edges[0], mark, backwards=True, there=found.more if backwards else cursor is not None),
            count=queryset.count() if self.counted else None,
            settled=mark,
        )

    def mark(self) -> datetime | None:
        """Return the settled mark as it is now, None where changes are not followed."""
        return settled_until() if self.followed else None

    def settled(self, queryset: QuerySet[Any], mark: datetime | None) -> QuerySet[Any]:
        """Leave out what changed at the mark or later: the next walk, from the mark on, has it whole."""
        return queryset.filter(**{f"{self.followed}__lt": mark}) if mark else queryset

    def beyond(self, edge: tuple[Any, ...], mark: datetime | None, *, backwards: bool, there: bool) -> str | None:
        """Return the cursor to the page beyond the row at the edge, None where there is no such page."""
        return Cursor(edge, backwards, mark).signed(self.question) if edge and there else None

    def link(self, cursor: str | None) -> str | None:
        """Return the absolute address of a neighbouring page; following it does not count again."""
        if cursor is None:
            return None
        # Written anew: what the client sent unescaped, Django would escape in another encoding than it was read in.
        kept = ((name, values) for name, values in self.request.query_params.lists() if name not in OF_ONE_PAGE)
        query = urlencode([*kept, ("cursor", cursor)], doseq=True)
        return self.request.build_absolute_uri(f"{self.request.path}?{query}")

    def envelope(self, page: Page) -> bytes:
        """Return a page as the JSON of an answer."""
        head = {
            "next": self.link(page.next),
            "previous": self.link(page.previous),
            "next_cursor": page.next,
            "previous_cursor": page.previous,
            **({} if page.count is None else {"count": page.count}),
            **({} if page.settled is None else {"settled_until": in_utc(page.settled)}),
        }
        return b"".join((json.dumps(head)[:-1].encode(), b', "results": [', page.rows, b"]}"))


class KeysetPagination(BasePagination):
    """How the schema describes a walk; the lists themselves use `Walk`."""

    parameters = ("cursor", "page_size", "ordering", "count", "fields")

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the parameters of a list."""
        orderings = [sign + name for name in view.orderings for sign in ("", "-")]
        size = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": DEFAULT_PAGE_SIZE}
        return [
            described(
                "cursor", {"type": "string"}, "Where the page begins: next_cursor or previous_cursor of another."
            ),
            described("page_size", size, "How many rows a page holds."),
            described("ordering", {"type": "string", "enum": orderings, "default": view.ordering}, ORDERING),
            described("count", {"type": "string", "enum": ["exact"]}, "exact: also count all rows, which takes time."),
            described("fields", {"type": "string"}, FIELDS),
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the envelope of a page."""
        link = {"type": ["string", "null"], "format": "uri"}
        cursor = {"type": ["string", "null"]}
        return {
            "type": "object",
            "required": ["next", "previous", "next_cursor", "previous_cursor", "results"],
            "properties": {
                "next": link,
                "previous": link,
                "next_cursor": cursor,
                "previous_cursor": cursor,
                "count": {"type": "integer", "description": "With count=exact: all rows that the filters let through."},
                "settled_until": {
                    "type": "string",
                    "format": "date-time",
                    "description": "With updated_since: everything that changed before this instant is in the walk. "
                    "It is the updated_since of the next one.",
                },
                "results": schema,
            },
        }


def described(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Return one optional query parameter as OpenAPI has it."""
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


@dataclass(frozen=True, slots=True)
class Rendered:
    """Rows as JSON objects in UTF-8 with commas between them, and whether there are more.

    `first`, `last`: the keys of the rows at the edges, () where there are none.
    """

    text: bytes
    first: tuple[Any, ...]
    last: tuple[Any, ...]
    more: bool


def fetched(
    queryset: QuerySet[Any],
    columns: Sequence[Column],
    keys: Sequence[str],
    most: int,
    *,
    backwards: bool = False,
    of_position: int = 0,
) -> Rendered:
    """Return the first `most` rows, `backwards` the last of them first, and their columns at the ORM paths `keys`.

    PostgreSQL makes one text of them, which is passed on as it came; only the keys at the edges become Python's.
    `of_position` of the parameters say where a walk goes on.
    """
    # One row more than is asked for tells whether there are more.
    statement = as_page(queryset[: most + 1], columns, keys, most, backwards=backwards)
    wrapper: Any = connections[queryset.db]
    # What is the same for every reader but for the place in the walk is planned once. The best plan of any other
    # question depends on its values.
    known = len(statement.params) == of_position
    with wrapper.prepared_cursor() if known else wrapper.cursor() as cursor:
        cursor.execute(statement.sql, statement.params)
        text: bytes = cursor.pgresult.get_value(0, 0)
        _, found, *edges = cursor.fetchone()
    if not found:
        return Rendered(b"", (), (), more=False)
    return Rendered(text, tuple(edges[0::2]), tuple(edges[1::2]), found > most)


def in_utc(instant: datetime) -> str:
    """Return an instant as the API writes it."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def not_a_page_size(text: str) -> str:
    """Return why `text` is no size of a page, or ''."""
    good = text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= LARGEST_PAGE
    return "" if good else f"“{text}” is not a whole number from 1 to {LARGEST_PAGE}."
