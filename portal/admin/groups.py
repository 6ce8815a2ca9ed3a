"""Groups of people: what their members may do, and the only sources that they see."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, Permission
from django.contrib.postgres.aggregates import StringAgg
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Concat
from django.http import HttpRequest

from portal import rights
from portal.admin.words import abilities_of, sources_of
from portal.authentication import staff_scope
from portal.models import GroupScope
from portal.roles import IN_WORDS, ROLES
from usage.access import in_staff_scope
from usage.admin.base import PortalAdmin
from usage.admin.display import NOTHING, Table, quantity
from usage.columns import TEXT, Column, columns_at
from usage.models import Source

# What is not told by the name of a permission.
MEANS = {"change_sourceday": "have days read again, retry, accept suspect days"}


class PermissionChoices(forms.ModelMultipleChoiceField[Permission]):
    """Permissions by what they allow, without the names of apps and tables."""

    def label_from_instance(self, obj: Permission) -> str:
        """Return `Can change source`."""
        means = MEANS.get(obj.codename)
        return f"{obj.name} ({means})" if means else obj.name


class GroupScopeInline(admin.StackedInline[GroupScope, Group]):
    """The only sources that the members of a group see; no entry limits nobody."""

    model = GroupScope
    extra = 0
    max_num = 1
    verbose_name_plural = "Limit to sources"

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the sources that whoever fills the form in sees."""
        kwargs["queryset"] = in_staff_scope(Source.objects.defer("credential"), request, "id")
        kwargs["widget"] = forms.CheckboxSelectMultiple
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_min_num(self, request: HttpRequest, obj: Group | None = None, **kwargs: Any) -> int:
        """Someone who is limited makes no group without a limit, which would be no use to them."""
        return 0 if staff_scope(rights.me(request)) is None else 1

    def get_formset(self, request: HttpRequest, obj: Group | None = None, **kwargs: Any) -> Any:
        """Hold someone who is limited to setting a limit."""
        limited = staff_scope(rights.me(request)) is not None
        return super().get_formset(request, obj, **kwargs, validate_min=limited)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        """Only who sees all sources lifts a limit."""
        return super().has_delete_permission(request, obj) and staff_scope(rights.me(request)) is None


admin.site.unregister(Group)  # Django's own page, which importing it has registered


@admin.register(Group)
class LimitedGroupAdmin(PortalAdmin, GroupAdmin):
    """Groups: the three roles, which stay as they are, and a deployment's own."""

    exported = (*columns_at(Group, "id", "name"), Column("permissions", "codes", TEXT))
    list_display = ("name", "explained", "people", "sees")
    actions = None
    filter_horizontal = ()
    fields = ("name", "permissions")
    inlines = (GroupScopeInline,)

    def rows_to_export(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Give every group the codes of what its members may do."""
        code = Concat("permissions__content_type__app_label", Value("."), "permissions__codename")
        codes = Group.objects.filter(pk=OuterRef("pk")).order_by().annotate(codes=StringAgg(code, " ", order_by=code))
        annotated: QuerySet[Any] = rows.annotate(codes=Subquery(codes.values("codes")))
        return annotated

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out groups of sources that the reader does not see, and count the people that they may know of."""
        groups: QuerySet[Any] = super().get_queryset(request).prefetch_related("source_scope__sources")
        limit = staff_scope(rights.me(request))
        seen = groups if limit is None else groups.exclude(pk__in=rights.wider_groups(limit))
        known = None if limit is None else Q(user__in=rights.people_to_see(rights.me(request)).values("pk"))
        counted: QuerySet[Any] = seen.annotate(members=Count("user", filter=known, distinct=True))
        return counted

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        """Offer the permissions that whoever fills the form in has."""
        if db_field.name != "permissions":
            return super().formfield_for_manytomany(db_field, request, **kwargs)
        offered = rights.permissions_to_give(rights.me(request)).order_by(
            "content_type__app_label", "content_type__model", "codename"
        )
        return PermissionChoices(
            offered,
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text="Leave all empty for a group that only limits to sources: its members have a role beside it.",
        )

    def get_inlines(self, request: HttpRequest, obj: Group | None) -> Any:
        """A role is limited to no sources: who has it may be, by another group."""
        return () if obj is not None and obj.name in ROLES else self.inlines

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes a role, a group that they are in, or one that has more than they have."""
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or rights.may_change_group(rights.me(request), obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As for changing; and only who sees all sources deletes one, as its members may be free of a limit then."""
        allowed = super().has_delete_permission(request, obj) and staff_scope(rights.me(request)) is None
        return allowed and (obj is None or rights.may_change_group(rights.me(request), obj))

    def page_words(self, request: HttpRequest, obj: Group) -> str:
        """What a role is for."""
        told = IN_WORDS.get(obj.name)
        return f"{told} A role of the portal: it stays as it is." if told else ""

    def page_tables(self, request: HttpRequest, obj: Group) -> Sequence[Table]:
        """What members may do, and which sources they see."""
        codes = rights.codes(obj.permissions.all())
        limit = rights.limit_of([obj])
        return abilities_of(codes), sources_of(limit, "Sources they see", request), members_of(obj, request)

    @admin.display(description="what it is for")
    def explained(self, group: Group) -> str:
        """What a role is for."""
        return IN_WORDS.get(group.name, NOTHING)

    @admin.display(description="people")
    def people(self, group: Any) -> Any:
        """How many are in it."""
        return quantity(group.members)

    @admin.display(description="limited to")
    def sees(self, group: Group) -> str:
        """The sources that members are limited to."""
        scope: GroupScope | None = getattr(group, "source_scope", None)
        if scope is None:
            return "not limited"
        return ", ".join(source.slug for source in scope.sources.all()) or "no source"


def members_of(group: Group, request: HttpRequest) -> Table:
    """Return the people of a group that the reader may know of."""
    people = rights.people_to_see(rights.me(request)).filter(groups=group).distinct().order_by("username")[:100]
    rows = [[person.get_username(), person.get_full_name() or NOTHING] for person in people]
    return Table("People", ("user name", "name"), rows, "Nobody is in it.")
