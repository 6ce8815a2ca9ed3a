"""The form of a new user: who they are, their role, the sources they see, and an invitation."""

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet

from portal.accounts.authentication import get_source_scope
from portal.accounts.models import GroupScope
from portal.accounts.permissions import SourceLimit, get_assignable_groups, get_groups_limit, is_within
from portal.accounts.roles import ROLE_DESCRIPTIONS, ROLES, VIEWER
from usage.models import Source

# A group with a single member, which only limits them to sources.
OWN_GROUP = "Sources of "
LONGEST_GROUP_NAME = 150
MAILED = "They get a link by mail, with which they set their password."
SHOWN = "The next page shows a link, once, with which they set their password: the portal sends no mail."


class RoleChoices(forms.ModelChoiceField[Group]):
    """The roles, with what each may do."""

    def label_from_instance(self, obj: Group) -> str:
        """Return `viewer: Looks at usage …`."""
        return f"{obj.name}: {ROLE_DESCRIPTIONS[obj.name]}"


class NewUserForm(forms.ModelForm[User]):
    """A new user, who may do and see no more than the user who adds them (`actor`)."""

    role = RoleChoices(
        Group.objects.none(),
        required=False,
        blank=True,
        widget=forms.RadioSelect,
        empty_label="None yet: they may do nothing.",
    )
    limited = forms.BooleanField(required=False, label="Only some sources")
    sources = forms.ModelMultipleChoiceField(
        Source.objects.defer("credential"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="They cannot learn that there are others. A group of their own holds this limit; it can be changed "
        "there.",
    )
    invited = forms.BooleanField(required=False, initial=True, label="Invite them now")

    actor: ClassVar[User]

    class Meta:
        labels = {"groups": "Other groups"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit = get_source_scope(self.actor)
        assignable = get_assignable_groups(self.actor)
        self.choose_from("role", assignable.filter(name__in=ROLES).order_by("pk"))
        if "groups" in self.fields:
            self.choose_from("groups", get_other_groups(self.actor))
            self.fields["groups"].help_text = ""
        self.fields["role"].initial = assignable.filter(name=VIEWER).first()
        self.fields["limited"].initial = self.limit is not None
        if self.limit is not None:
            self.choose_from("sources", Source.objects.defer("credential").filter(pk__in=self.limit))
        provider = f" {settings.PORTAL_OIDC_NAME} opens the account too." if settings.PORTAL_OIDC_ISSUER else ""
        self.fields["invited"].help_text = (MAILED if settings.PORTAL_EMAIL_URL else SHOWN) + provider

    def choose_from(self, name: str, rows: Any) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101
        field.queryset = rows

    def clean_email(self) -> str:
        """Refuse the address of another user: an address opens a single account."""
        email: str = self.cleaned_data["email"]
        if email and User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("Another user has this address.")
        return email

    def clean(self) -> dict[str, Any]:
        """Check the limit to sources, and that an invitation can be sent."""
        cleaned = super().clean() or self.cleaned_data
        if bool(cleaned.get("limited")) != bool(cleaned.get("sources")):
            self.add_error("sources", "Choose at least one source for a limited user, and none for any other.")
        elif not is_within(self.get_limit(cleaned), self.limit):
            self.add_error("limited", "You see only some sources, and so may a user that you add.")
        if (
            cleaned.get("invited")
            and settings.PORTAL_EMAIL_URL
            and not cleaned.get("email")
            and "email" not in self.errors
        ):
            self.add_error("email", "Give the address that the invitation is sent to.")
        return cleaned

    def get_limit(self, cleaned: dict[str, Any]) -> SourceLimit:
        """Return the only sources that the user will see: those of their groups and those chosen; None for all."""
        groups_limit = get_groups_limit(cleaned.get("groups") or ())
        if not cleaned.get("limited"):
            return groups_limit
        return frozenset(source.pk for source in cleaned["sources"]) | (groups_limit or frozenset())

    def add_memberships(self, user: User) -> None:
        """Add the stored user to their role, and to a group that limits only them."""
        if role := self.cleaned_data["role"]:
            user.groups.add(role)
        if self.cleaned_data["limited"]:
            own_group = Group.objects.create(name=name_own_group(user))
            GroupScope.objects.create(group=own_group).sources.set(self.cleaned_data["sources"])
            user.groups.add(own_group)


def get_other_groups(actor: User) -> QuerySet[Group]:
    """Return the groups that `actor` may add a new user to besides the roles, without those of single users."""
    groups = get_assignable_groups(actor).exclude(name__in=ROLES)
    return groups.exclude(name__startswith=OWN_GROUP).order_by("name")


def name_own_group(user: User) -> str:
    """Return an unused name for the group of a single user."""
    name = f"{OWN_GROUP}{user.get_username()}"[:LONGEST_GROUP_NAME]
    if Group.objects.filter(name=name).exists():
        suffix = f" ({user.pk})"
        name = name[: LONGEST_GROUP_NAME - len(suffix)] + suffix
    return name
