"""Filters by the directory: by the name of an id, and by the teams of a user."""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import BigIntegerField, Q, QuerySet
from django_filters import rest_framework as django_filters

from usage.api.filters.fields import CommaSeparatedField, CommaSeparatedFilter, cast_to_bigint
from usage.api.filters.values import LEAST_LETTERS, ContainsField
from usage.directory.lookup import build_name_name, select_entries
from usage.models import PERSONS, DirectoryEntry, NameKind
from usage.text_search import build_search


class NamesField(CommaSeparatedField):
    """Full names; `refusal`: why they may not be filtered by, '' where they may. The filter set sets it."""

    refusal = ""

    def clean(self, value: Any) -> list[Any]:
        """Return the names; raises ValidationError where they may not be filtered by."""
        return super().clean(refuse(value, self.refusal))


class NamePartField(ContainsField):
    """A part of a name; `refusal` as NamesField has it."""

    refusal = ""

    def clean(self, value: Any) -> Any:
        """Return the part; raises ValidationError where names may not be filtered by."""
        return super().clean(refuse(value, self.refusal))


def refuse(value: Any, refusal: str) -> Any:
    """Return the value of a field; raises ValidationError with the refusal where there are both."""
    if value and refusal:
        raise ValidationError(refusal)
    return value


class DirectoryFilter:
    """A filter by entries of the directory: keeps the rows with their ids, each source's by itself.

    `kind`: of the entries; `field_name`: the column with their ids. Roll-ups that have the column are filtered, too.
    """

    kind: NameKind
    field_name: str
    parent: Any

    def keep_entries(self, qs: QuerySet[Any], entries: QuerySet[DirectoryEntry]) -> QuerySet[Any]:
        """Keep the rows with the ids of entries of the sources within the row scope."""
        conditions = self.list_conditions(qs, entries)
        return qs.filter(reduce(or_, conditions)) if conditions else qs.none()

    def list_conditions(self, qs: QuerySet[Any], entries: QuerySet[DirectoryEntry]) -> list[Q]:
        """Return the condition of the rows with the ids of entries, for each source."""
        by_source: dict[int, list[str]] = {}
        visible_entries = entries.filter(source__in=self.parent.visible_sources).order_by()
        for source_id, vendor_id in visible_entries.values_list("source_id", "vendor_id"):
            by_source.setdefault(source_id, []).append(vendor_id)
        return [self.build_condition(qs, source_id, ids) for source_id, ids in sorted(by_source.items())]

    def build_condition(self, qs: QuerySet[Any], source_id: int, ids: Iterable[str]) -> Q:
        """Return the condition of the rows of a source with one of these ids."""
        if isinstance(qs.model._meta.get_field(self.field_name), BigIntegerField):
            numbers: list[Any] = [cast_to_bigint(int(vendor_id)) for vendor_id in ids if is_bigint(vendor_id)]
            return Q(source_id=source_id, **{f"{self.field_name}__in": numbers})
        return Q(source_id=source_id, **{f"{self.field_name}__in": list(ids)})


class NamesFilter(DirectoryFilter, CommaSeparatedFilter, django_filters.CharFilter):  # type: ignore[misc]
    """Comma-separated full names; a row matches where one of them is the name of its id today."""

    base_field_class = NamesField  # type: ignore[assignment]

    def __init__(self, column: str, kind: NameKind) -> None:
        text = f"Whole names of {kind.label.lower()}s as they are today, comma-separated."
        super().__init__(field_name=column, help_text=text, takes_none=False)
        self.kind = kind

    def filter(self, qs: QuerySet[Any], value: list[Any]) -> QuerySet[Any]:
        if not value:
            return qs
        return self.keep_entries(qs, select_entries(self.kind, self.parent.names).filter(Q(shown__in=value)))


class NamePartFilter(DirectoryFilter, django_filters.CharFilter):  # type: ignore[misc]
    """A part of the name that an id has today."""

    field_class: type[forms.CharField] = NamePartField

    def __init__(self, column: str, kind: NameKind) -> None:
        text = f"At least {LEAST_LETTERS} characters of the name, in upper or lower case."
        super().__init__(field_name=column, help_text=text)
        self.kind = kind

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return qs
        entries = select_entries(self.kind, self.parent.names)
        return self.keep_entries(qs, entries.filter(build_search(["shown__icontains"], value)))


class TeamFilter(DirectoryFilter, CommaSeparatedFilter, django_filters.CharFilter):  # type: ignore[misc]
    """Comma-separated ids of teams; a row matches where its user is in one of them today, `~none` where in no team."""

    kind = NameKind.USER

    def __init__(self) -> None:
        text = "Ids of teams, comma-separated: rows of users who are in one of them today; ~none: in no team."
        super().__init__(field_name="user_id", help_text=text)

    def filter(self, qs: QuerySet[Any], value: list[Any]) -> QuerySet[Any]:
        if not value:
            return qs
        users, teams = DirectoryEntry.objects.filter(kind=self.kind), [team for team in value if team is not None]
        if None not in value:
            return self.keep_entries(qs, users.filter(team_ids__overlap=teams))
        inside = self.list_conditions(qs, users.filter(team_ids__overlap=teams)) if teams else []
        team_members = self.list_conditions(qs, users.filter(team_ids__len__gt=0))
        return qs.filter(reduce(or_, [*inside, ~reduce(or_, team_members)])) if team_members else qs


def is_bigint(vendor_id: str) -> bool:
    """Return whether an id can be in a column of numbers; a vendor may have longer ids, which no record has."""
    return vendor_id.isascii() and vendor_id.isdecimal() and int(vendor_id) <= BigIntegerField.MAX_BIGINT


def build_name_filters(columns: dict[str, NameKind]) -> dict[str, django_filters.Filter]:
    """Return the filters of the names of columns of ids: `project_name`, `project_name__contains`."""
    filters: dict[str, django_filters.Filter] = {}
    for column, kind in columns.items():
        filters[build_name_name(column)] = NamesFilter(column, kind)
        filters[f"{build_name_name(column)}__contains"] = NamePartFilter(column, kind)
    return filters


def is_name_filter(param_filter: Any) -> bool:
    """Return whether a filter is by names."""
    return isinstance(param_filter, (NamesFilter, NamePartFilter))


def set_refusals(form: type[forms.Form], filters: Any, refusal: str) -> None:
    """Set on the fields of people's names why they may not be filtered by, '' where they may."""
    for name, field in form.base_fields.items():
        if isinstance(field, (NamesField, NamePartField)):
            field.refusal = refusal if filters[name].kind in PERSONS else ""
