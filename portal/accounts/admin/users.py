"""The pages of users: their accounts, groups, and what they may do and see."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import structlog
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import User
from django.contrib.postgres.aggregates import StringAgg
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from portal.accounts.admin.access_summary import build_abilities_table, build_sources_table
from portal.accounts.admin.new_user import OWN_GROUP, NewUserForm, get_other_groups
from portal.accounts.authentication import get_source_scope
from portal.accounts.invitations import build_link, can_be_invited, invite, send_invitation, withdraw
from portal.accounts.models import Invitation
from portal.accounts.permissions import (
    can_change_user,
    get_assignable_groups,
    get_groups_limit,
    get_user_codes,
    get_visible_users,
    is_within,
    request_user,
)
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import Table, build_list_column, render_badge
from usage.columns import TEXT, Column, build_columns
from usage.formatting import NOTHING, format_age, format_instant
from usage.models import Source

logger = structlog.get_logger(__name__)

GROUPS_EXPLAINED = (
    "Permissions come from these groups: viewer, operator or administrator, and any that you have added. "
    "A group that is limited to sources limits all its members."
)

Fieldsets = tuple[tuple[str | None, dict[str, tuple[str, ...]]], ...]


class GroupChoiceMixin(forms.ModelForm[User]):
    """A form whose groups are those that the user may assign (`actor`)."""

    actor: ClassVar[User]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "groups" in self.fields:
            field = self.fields["groups"]
            assert isinstance(field, forms.ModelMultipleChoiceField)  # noqa: S101
            other_users_groups = Q(name__startswith=OWN_GROUP) & ~Q(user=self.instance)
            field.queryset = get_assignable_groups(self.actor).exclude(other_users_groups)
            field.help_text = GROUPS_EXPLAINED

    def clean(self) -> dict[str, Any]:
        """Refuse groups that see more sources than the actor."""
        cleaned = super().clean() or self.cleaned_data
        groups = cleaned.get("groups")
        if groups is not None and not is_within(get_groups_limit(groups), get_source_scope(self.actor)):
            self.add_error("groups", "You see only some sources: choose a group that is limited to some of yours.")
        return cleaned


class UserForm(GroupChoiceMixin, UserChangeForm[User]):
    """The account of a user."""


admin.site.unregister(User)  # registered by the import of Django's UserAdmin


@admin.register(User)
class PortalUserAdmin(PortalAdmin, UserAdmin[User]):
    """Users. They are deactivated and not deleted: the audit log keeps naming them."""

    form = UserForm
    add_form = NewUserForm
    add_form_template = None
    exported = (
        *build_columns(User, "username", "first_name", "last_name", "email", "is_active", "date_joined", "last_login"),
        Column("groups", "group_names", TEXT),
    )
    list_display = ("username", "full_name", "email", "state", "roles", "sees", "last_seen")
    list_filter = ()
    actions = None
    filter_horizontal = ()
    change_fieldsets: Fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("What they may do", {"fields": ("is_active", "groups")}),
    )
    view_fieldsets: Fieldsets = (
        (None, {"fields": ("username", "first_name", "last_name", "email")}),
        ("What they may do", {"fields": ("is_active", "groups")}),
    )
    full_name = build_list_column("name", lambda user: user.get_full_name() or NOTHING)
    last_seen = build_list_column("last signed in", lambda user: format_age(user.last_login))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        users = get_visible_users(request_user(request)).select_related("invitation")
        return users.prefetch_related("groups__source_scope__sources")

    def annotate_export_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        names = StringAgg("groups__name", ", ", order_by="groups__name")
        groups = User.objects.filter(pk=OuterRef("pk")).order_by().annotate(names=names).values("names")
        annotated: QuerySet[Any] = rows.annotate(group_names=Subquery(groups))
        return annotated

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the superuser flag only to superusers, and a new user's groups and sources only where there are any."""
        if obj is None:
            return list(self.build_add_fieldsets(request))
        if not self.has_change_permission(request, obj):
            return self.view_fieldsets
        account, (title, options) = self.change_fieldsets
        # Users change their own password by entering the old password, so they must have one.
        if obj == request.user and not obj.has_usable_password():
            account = self.view_fieldsets[0]
        if request_user(request).is_superuser:
            options = {"fields": (*options["fields"], "is_superuser")}
        return account, (title, options)

    def build_add_fieldsets(self, request: HttpRequest) -> Iterator[tuple[str | None, dict[str, tuple[str, ...]]]]:
        groups = ("groups",) if get_other_groups(request_user(request)).exists() else ()
        yield None, {"fields": ("username", "email", "first_name", "last_name")}
        yield "What they may do", {"fields": ("role", *groups)}
        if get_source_scope(request_user(request)) is not None or Source.objects.exists():
            yield "What they see", {"fields": ("limited", "sources")}
        yield "How they come in", {"fields": ("invited",)}

    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002 (Django's name)
        """Set the password of another user; for the user's own, redirect to the page that requires the old password.

        An open session alone must not set a new password. Raises PermissionDenied for a user without a password.
        """
        if self.get_object(request, unquote(id)) != request.user:
            return super().user_change_password(request, id, form_url)
        if not request_user(request).has_usable_password():
            raise PermissionDenied
        return redirect("account_change_password")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep users from deactivating themselves and from changing their own permissions."""
        if obj is not None and obj == request.user:
            return ("is_active", "groups", "is_superuser")
        return ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, **kwargs)
        form.actor = request_user(request)
        return form

    @method_decorator(never_cache)
    def add_view(self, request: Any, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Add a user, then deliver the invitation: behind the transaction, as a mail cannot be taken back."""
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        response = super().add_view(request, form_url, {**only_save, **(extra_context or {})})
        invited: User | None = getattr(request, "invited_user", None)
        return response if invited is None else self.invite(request, invited)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Show groups, the only field of this kind on the pages, as checkboxes."""
        return super().formfield_for_manytomany(db_field, request, **kwargs, widget=forms.CheckboxSelectMultiple)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse users who may do or see more than the reader."""
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or can_change_user(request_user(request), obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Require the permission to change users too, as Django does."""
        return super().has_add_permission(request) and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: users are deactivated, not deleted."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Make new users staff, as only staff have pages here; they set their password themselves."""
        if not change:
            obj.is_staff = True
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:
        """Set the role of a new user and their limit to sources."""
        super().save_related(request, form, formsets, change)
        if not change:
            form.add_memberships(form.instance)
            request.invited_user = form.instance if form.cleaned_data["invited"] else None

    def response_add(self, request: HttpRequest, obj: User, post_url_continue: str | None = None) -> HttpResponse:
        """Show the new user; Django's own sentence would speak of a form, and the page may be the invitation's link."""
        messages.success(request, f"The user {obj} was added.")
        return redirect("admin:auth_user_change", obj.pk)

    def invite(self, request: HttpRequest, user: User) -> HttpResponse:
        """Send an invitation, or show its link once where the portal sends no mail."""
        secret = invite(user, request_user(request))
        invitation = Invitation.objects.get(user=user)
        expires = format_instant(invitation.expires_at)
        self.log_change(request, user, "Invited.")
        if not (settings.PORTAL_EMAIL_URL and user.email):
            context = {**self.admin_site.each_context(request), "title": "Invitation", "opts": self.opts}
            context |= {"person": user, "link": build_link(request, secret), "expires": expires}
            return TemplateResponse(request, "admin/portal/invitation_made.html", context)
        try:
            send_invitation(request, user, secret, expires)
        except OSError:
            withdraw(user)
            logger.exception("an invitation could not be sent")
            messages.error(request, f"The mail server did not take the mail to {user.email}. Try “Invite” again later.")
        else:
            messages.success(request, f"An invitation was sent to {user.email}. It works once, until {expires}.")
        return redirect("admin:auth_user_change", user.pk)

    def withdraw_invitation(self, request: HttpRequest, user: User) -> None:
        """Make the link of a user useless."""
        withdraw(user)
        self.log_change(request, user, "Withdrew the invitation.")
        messages.success(request, f"The link of {user} does not work any more.")

    def get_page_summary(self, request: HttpRequest, obj: User) -> str:
        """Return whether and how they sign in."""
        if not obj.is_active:
            return "Inactive: cannot sign in. The settings here apply again once the account is active."
        if can_be_invited(obj):
            return describe_invitation(obj)
        methods = [*(["a password"] if obj.has_usable_password() else []), *self.list_other_methods(obj)]
        factor = " A second factor is required too." if has_second_factor(obj) else ""
        return (
            f"Signs in with {' or '.join(methods)}.{factor}" if methods else "Cannot sign in until a password is set."
        )

    def list_other_methods(self, user: User) -> list[str]:
        return ["the sign-in provider"] if SocialAccount.objects.filter(user=user).exists() else []

    def get_page_tables(self, request: HttpRequest, obj: User) -> Sequence[Table]:
        return (
            build_abilities_table(get_user_codes(obj), is_superuser=obj.is_superuser),
            build_sources_table(get_source_scope(obj), request),
        )

    def get_page_actions(self, request: HttpRequest, obj: User) -> Sequence[PageAction]:
        """Return the actions that invite a user who has not come in yet, and that remove a lost second factor."""
        if obj == request.user or not self.has_change_permission(request, obj):
            return ()
        actions = []
        if can_be_invited(obj) and self.has_add_permission(request):
            label = "Invite again" if hasattr(obj, "invitation") else "Invite"
            explanation = "A new link, with which they set their password. The one before does not work any more."
            actions.append(PageAction("invite", label, self.invite, explanation))
        if hasattr(obj, "invitation"):
            actions.append(PageAction("withdraw-invitation", "Withdraw invitation", self.withdraw_invitation))
        if has_second_factor(obj):
            explanation = "For users who lost their phone: they sign in with the password alone and set up a new one."
            actions.append(PageAction("forget-factor", "Remove second factor", self.remove_second_factor, explanation))
        return actions

    def remove_second_factor(self, request: HttpRequest, user: User) -> None:
        Authenticator.objects.filter(user=user).delete()
        self.log_change(request, user, "Removed the second factor.")
        messages.success(request, f"{user} signs in without a second factor now.")

    @admin.display(description="state")
    def state(self, user: User) -> SafeString:
        """Whether they can sign in, and whether they have come in yet."""
        if user.is_active and hasattr(user, "invitation") and can_be_invited(user):
            return render_badge("Invited", "plain")
        return render_badge("Active", "good") if user.is_active else render_badge("Inactive", "plain")

    @admin.display(description="groups")
    def roles(self, user: User) -> str:
        superuser = ["superuser"] if user.is_superuser else []
        return ", ".join([*superuser, *(group.name for group in user.groups.all())]) or "none: no permissions"

    @admin.display(description="sees")
    def sees(self, user: User) -> str:
        scopes = [scope for group in user.groups.all() if (scope := getattr(group, "source_scope", None))]
        if user.is_superuser or not scopes:
            return "all sources"
        return ", ".join(sorted({source.slug for scope in scopes for source in scope.sources.all()})) or "no source"


def describe_invitation(user: User) -> str:
    """Return how a user who has not come in yet may do so."""
    provider = f" {settings.PORTAL_OIDC_NAME} opens the account too." if settings.PORTAL_OIDC_ISSUER else ""
    if not hasattr(user, "invitation"):
        return f"Has not signed in yet, and has no invitation.{provider}"
    expires = user.invitation.expires_at
    verb = "works until" if expires > timezone.now() else "has expired:"
    return f"Has not signed in yet. The invitation {verb} {format_instant(expires)}.{provider}"


def has_second_factor(user: User) -> bool:
    """Return whether a user has a second factor."""
    return bool(Authenticator.objects.filter(user=user).exists())
