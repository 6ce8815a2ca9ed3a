"""People: their account, the groups that say what they may do, and both in plain words."""

from collections.abc import Sequence
from typing import Any, ClassVar

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import User
from django.contrib.postgres.aggregates import StringAgg
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from portal import rights
from portal.admin.words import abilities_of, sources_of
from portal.authentication import staff_scope
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import NOTHING, Table, ago, badge
from usage.columns import TEXT, Column, columns_at

GROUPS_EXPLAINED = (
    "What they may do comes from these groups: viewer, operator or administrator, and any that you have made. "
    "A group that is limited to sources limits all its members."
)


class OfGroups(forms.ModelForm[User]):
    """Groups of a person: only those that whoever fills the form in may give."""

    actor: ClassVar[User]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "groups" in self.fields:
            field = self.fields["groups"]
            assert isinstance(field, forms.ModelMultipleChoiceField)  # noqa: S101
            field.queryset = rights.groups_to_give(self.actor)
            field.help_text = GROUPS_EXPLAINED

    def clean(self) -> dict[str, Any]:
        """Someone limited to sources makes nobody who sees others."""
        given = super().clean() or self.cleaned_data
        chosen = given.get("groups")
        if chosen is not None and not rights.within(rights.limit_of(chosen), staff_scope(self.actor)):
            self.add_error("groups", "You see only some sources: choose a group that is limited to some of yours.")
        return given


class PersonForm(OfGroups, UserChangeForm[User]):
    """A person's account."""


class NewPersonForm(OfGroups, AdminUserCreationForm[User]):
    """A new person: with a password, or without one for who signs in through the provider."""

    class Meta(AdminUserCreationForm.Meta):
        model = User
        fields = ("username", "email", "first_name", "last_name", "groups")


admin.site.unregister(User)  # Django's own page, which importing it has registered


@admin.register(User)
class PersonAdmin(PortalAdmin, UserAdmin[User]):
    """People who may sign in. They are switched off and not deleted: what they did stays under their name."""

    form = PersonForm
    add_form = NewPersonForm
    add_form_template = None
    exported = (
        *columns_at(User, "username", "first_name", "last_name", "email", "is_active", "date_joined", "last_login"),
        Column("groups", "group_names", TEXT),
    )
    list_display = ("username", "full_name", "email", "state", "roles", "sees", "last_seen")
    list_filter = ()
    actions = None
    filter_horizontal = ()
    add_fieldsets = (
        (None, {"fields": ("username", "email", "first_name", "last_name")}),
        ("Password", {"fields": ("usable_password", "password1", "password2")}),
        ("What they may do", {"fields": ("groups",)}),
    )
    mine = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("What they may do", {"fields": ("is_active", "groups")}),
    )
    shown = (
        (None, {"fields": ("username", "first_name", "last_name", "email")}),
        ("What they may do", {"fields": ("is_active", "groups")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out who sees sources that the reader does not."""
        return rights.people_to_see(rights.me(request)).prefetch_related("groups__source_scope__sources")

    def rows_to_export(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Give every person the names of their groups."""
        names = StringAgg("groups__name", ", ", order_by="groups__name")
        named = User.objects.filter(pk=OuterRef("pk")).order_by().annotate(names=names).values("names")
        annotated: QuerySet[Any] = rows.annotate(group_names=Subquery(named))
        return annotated

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A superuser may make others superusers, and nobody else is shown that there is such a thing."""
        if obj is None:
            return self.add_fieldsets
        if not self.has_change_permission(request, obj):
            return self.shown
        # A password of one's own is changed by giving the old one: without one there is no way to it.
        has_none = obj == request.user and not obj.has_usable_password()
        account, (title, does) = self.shown[0] if has_none else self.mine[0], self.mine[1]
        if rights.me(request).is_superuser:
            return account, (title, {"fields": (*does["fields"], "is_superuser")})
        return account, (title, does)

    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002 (Django's name)
        """Set another's password; one's own is changed where the old one is asked for.

        A session that was left open is no way to a new password. Raises PermissionDenied for who has none here.
        """
        if self.get_object(request, unquote(id)) != request.user:
            return super().user_change_password(request, id, form_url)
        if not rights.me(request).has_usable_password():
            raise PermissionDenied
        return redirect("account_change_password")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Nobody switches themselves off or changes what they may do."""
        if obj is not None and obj == request.user:
            return ("is_active", "groups", "is_superuser")
        return ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Tell the form who fills it in."""
        form: Any = super().get_form(request, obj, **kwargs)
        form.actor = rights.me(request)
        return form

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Choose groups by ticking them."""
        if db_field.name == "groups":
            kwargs["widget"] = forms.CheckboxSelectMultiple
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may change people, but nobody who may do or see more than they do."""
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or rights.may_change(rights.me(request), obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever may add and change people: Django lets nobody add who could not change whom they added."""
        return super().has_add_permission(request) and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody; switching off does it."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Let a new person onto these pages: all people here are staff."""
        if not change:
            obj.is_staff = True
        super().save_model(request, obj, form, change)

    def page_words(self, request: HttpRequest, obj: User) -> str:
        """Whether they can sign in, and how."""
        if not obj.is_active:
            return "Switched off: cannot sign in, and keeps what is set here for when the account is switched on again."
        ways = [*(["a password"] if obj.has_usable_password() else []), *self.other_ways(obj)]
        factor = " A second factor is asked for too." if has_factor(obj) else ""
        return f"Signs in with {' or '.join(ways)}.{factor}" if ways else "Cannot sign in until a password is set."

    def other_ways(self, person: User) -> list[str]:
        """Return what else a person signs in with."""
        return ["the sign-in provider"] if SocialAccount.objects.filter(user=person).exists() else []

    def page_tables(self, request: HttpRequest, obj: User) -> Sequence[Table]:
        """What they may do, and which sources they see."""
        everything = obj.is_superuser
        return (
            abilities_of(rights.rights_of(obj), everything=everything),
            sources_of(staff_scope(obj), "Sources they see", request),
        )

    def page_actions(self, request: HttpRequest, obj: User) -> Sequence[PageAction]:
        """Taking the second factor of someone who has lost theirs."""
        if obj == request.user or not has_factor(obj) or not self.has_change_permission(request, obj):
            return ()
        explains = "For who has lost their telephone: they sign in with the password alone, and set up a new one."
        return (PageAction("forget-factor", "Remove second factor", self.forget_factor, explains),)

    def forget_factor(self, request: HttpRequest, person: User) -> None:
        """Remove someone's second factor and recovery codes."""
        Authenticator.objects.filter(user=person).delete()
        self.log_change(request, person, "Removed the second factor.")
        messages.success(request, f"{person} signs in without a second factor now.")

    @admin.display(description="name")
    def full_name(self, person: User) -> str:
        """First and last name."""
        return person.get_full_name() or NOTHING

    @admin.display(description="state")
    def state(self, person: User) -> SafeString:
        """Whether they can sign in."""
        return badge("Active", "good") if person.is_active else badge("Switched off", "plain")

    @admin.display(description="groups")
    def roles(self, person: User) -> str:
        """The groups they are in."""
        named = ["superuser"] if person.is_superuser else []
        return ", ".join([*named, *(group.name for group in person.groups.all())]) or "none: may do nothing"

    @admin.display(description="sees")
    def sees(self, person: User) -> str:
        """The sources they see, of the groups that were fetched along."""
        scopes = [scope for group in person.groups.all() if (scope := getattr(group, "source_scope", None))]
        if person.is_superuser or not scopes:
            return "all sources"
        return ", ".join(sorted({source.slug for scope in scopes for source in scope.sources.all()})) or "no source"

    @admin.display(description="last signed in")
    def last_seen(self, person: User) -> str:
        """How long ago they signed in."""
        return ago(person.last_login)


def has_factor(person: User) -> bool:
    """Tell whether a second factor is asked of someone."""
    return bool(Authenticator.objects.filter(user=person).exists())
