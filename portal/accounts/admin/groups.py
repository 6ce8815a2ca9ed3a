"""The pages of groups: what their members may do, and the only sources that they see."""

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

from portal.accounts.admin.access_summary import build_abilities_table, build_sources_table
from portal.accounts.authentication import get_source_scope
from portal.accounts.models import GroupScope
from portal.accounts.permissions import (
    can_change_group,
    get_assignable_permissions,
    get_groups_limit,
    get_visible_users,
    get_wider_group_ids,
    list_codes,
    request_user,
)
from portal.accounts.roles import ROLE_DESCRIPTIONS, ROLES
from usage.admin.base import PortalAdmin
from usage.admin.display import Table, build_list_column, render_number
from usage.api.access import filter_by_staff_scope
from usage.columns import TEXT, Column, build_columns
from usage.formatting import NOTHING
from usage.models import Source

# What the name of a permission does not explain.
EXPLANATIONS = {"change_sourceday": "sync days again, retry, accept suspect days"}


class PermissionChoices(forms.ModelMultipleChoiceField[Permission]):
    """Permissions without the names of apps and models."""

    def label_from_instance(self, obj: Permission) -> str:
        """Return `Can change source`."""
        explanation = EXPLANATIONS.get(obj.codename)
        return f"{obj.name} ({explanation})" if explanation else obj.name


class GroupScopeInline(admin.StackedInline[GroupScope, Group]):
    """The only sources that the members of a group see; without an entry there is no limit."""

    model = GroupScope
    extra = 0
    max_num = 1
    verbose_name_plural = "Limit to sources"

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = filter_by_staff_scope(Source.objects.defer("credential"), request, "id")
        kwargs["widget"] = forms.CheckboxSelectMultiple
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_min_num(self, request: HttpRequest, obj: Group | None = None, **kwargs: Any) -> int:
        """Require a limit of a user who is limited: they may not use a group without a limit."""
        return 0 if get_source_scope(request_user(request)) is None else 1

    def get_formset(self, request: HttpRequest, obj: Group | None = None, **kwargs: Any) -> Any:
        limited = get_source_scope(request_user(request)) is not None
        return super().get_formset(request, obj, **kwargs, validate_min=limited)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        """Only a user who sees all sources may remove a limit."""
        return super().has_delete_permission(request, obj) and get_source_scope(request_user(request)) is None


admin.site.unregister(Group)  # registered by the import of Django's GroupAdmin


@admin.register(Group)
class PortalGroupAdmin(PortalAdmin, GroupAdmin):
    """The three roles, which cannot be changed, and a deployment's own groups."""

    exported = (*build_columns(Group, "id", "name"), Column("permissions", "codes", TEXT))
    list_display = ("name", "role_description", "member_count", "sees")
    actions = None
    filter_horizontal = ()
    fields = ("name", "permissions")
    inlines = (GroupScopeInline,)
    role_description = build_list_column("what it is for", lambda group: ROLE_DESCRIPTIONS.get(group.name, NOTHING))
    member_count = build_list_column("users", lambda group: render_number(group.members))

    def annotate_export_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        code = Concat("permissions__content_type__app_label", Value("."), "permissions__codename")
        codes = Group.objects.filter(pk=OuterRef("pk")).order_by().annotate(codes=StringAgg(code, " ", order_by=code))
        annotated: QuerySet[Any] = rows.annotate(codes=Subquery(codes.values("codes")))
        return annotated

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the groups within the user's sources, with the number of members visible to them."""
        groups: QuerySet[Any] = super().get_queryset(request).prefetch_related("source_scope__sources")
        limit = get_source_scope(request_user(request))
        visible_groups = groups if limit is None else groups.exclude(pk__in=get_wider_group_ids(limit))
        visible_members = None if limit is None else Q(user__in=get_visible_users(request_user(request)).values("pk"))
        annotated: QuerySet[Any] = visible_groups.annotate(members=Count("user", filter=visible_members, distinct=True))
        return annotated

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        permissions = get_assignable_permissions(request_user(request)).order_by(
            "content_type__app_label", "content_type__model", "codename"
        )
        return PermissionChoices(
            permissions,
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text="Leave all empty for a group that only limits to sources: its members also have a role.",
        )

    def get_inlines(self, request: HttpRequest, obj: Group | None) -> Any:
        """Offer no limit on a role: its members may be limited by another group."""
        return () if obj is not None and obj.name in ROLES else self.inlines

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse a role, a group of the user's own, and a group with more than the user has."""
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or can_change_group(request_user(request), obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As above, and only for a user who sees all sources: members may lose a limit with the group."""
        allowed = super().has_delete_permission(request, obj) and get_source_scope(request_user(request)) is None
        return allowed and (obj is None or can_change_group(request_user(request), obj))

    def get_page_summary(self, request: HttpRequest, obj: Group) -> str:
        description = ROLE_DESCRIPTIONS.get(obj.name)
        return f"{description} A role of the portal: it cannot be changed." if description else ""

    def get_page_tables(self, request: HttpRequest, obj: Group) -> Sequence[Table]:
        codes = list_codes(obj.permissions.all())
        limit = get_groups_limit([obj])
        return (
            build_abilities_table(codes),
            build_sources_table(limit, request),
            build_members_table(obj, request),
        )

    @admin.display(description="limited to")
    def sees(self, group: Group) -> str:
        scope: GroupScope | None = getattr(group, "source_scope", None)
        if scope is None:
            return "not limited"
        return ", ".join(source.slug for source in scope.sources.all()) or "no source"


def build_members_table(group: Group, request: HttpRequest) -> Table:
    """Return the members of a group that the user may see."""
    people = get_visible_users(request_user(request)).filter(groups=group).distinct().order_by("username")[:100]
    rows = [[person.get_username(), person.get_full_name() or NOTHING] for person in people]
    return Table("Users", ("user name", "name"), rows, "Nobody is in it.")
