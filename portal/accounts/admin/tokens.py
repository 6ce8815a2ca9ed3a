"""The pages of API tokens: create, show the secret once, list, revoke."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from portal.accounts.models import ApiToken, Scope, create_token
from portal.accounts.permissions import get_assignable_scopes, request_user
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import build_list_column, render_badge, render_prose
from usage.api.access import get_staff_scope
from usage.columns import build_columns
from usage.formatting import format_age, format_timestamp
from usage.models import Source

EXPIRES_SOON = timedelta(days=14)


class Lifetime(models.TextChoices):
    """How long a new token is valid."""

    MONTH = "30", "30 days"
    QUARTER = "90", "90 days"
    YEAR = "365", "One year"
    GIVEN = "given", "Until the time given below"
    FOREVER = "forever", "For ever, until it is revoked"


SOURCE_FIELDS = ("limited", "sources")  # hidden while there are no sources


class TokenForm(forms.ModelForm[ApiToken]):
    """The form of a new token, which may do and see no more than its creator."""

    scopes = forms.MultipleChoiceField(
        label="It may be used to",
        initial=[Scope.USAGE_READ],
        widget=forms.CheckboxSelectMultiple,
        help_text="Give it what its program needs and no more.",
    )
    limited = forms.BooleanField(required=False, label="Only some sources")
    sources = forms.ModelMultipleChoiceField(
        Source.objects.defer("credential"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="The sources that a limited token sees. It cannot learn that there are others.",
    )
    lasts = forms.ChoiceField(
        label="Lasts",
        choices=Lifetime.choices,
        initial=Lifetime.QUARTER,
        help_text="From then on it opens nothing. The overview tells of tokens that are about to expire.",
    )

    actor: ClassVar[Any]
    limit: ClassVar[frozenset[int] | None]

    class Meta:
        labels = {"expires_at": "Expires at (UTC)", "rate": "Requests"}
        help_texts = {"expires_at": "Only where you choose so above."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scopes, sources = self.fields["scopes"], self.fields["sources"]
        assert isinstance(scopes, forms.MultipleChoiceField)  # noqa: S101
        assert isinstance(sources, forms.ModelMultipleChoiceField)  # noqa: S101
        scopes.choices = [(value, f"{label} ({value})") for value, label in get_assignable_scopes(self.actor)]
        if self.limit is not None:
            sources.queryset = sources.queryset.filter(pk__in=self.limit) if sources.queryset is not None else None
            self.fields["limited"].initial = True

    def clean(self) -> dict[str, Any]:
        """Validate the limit to sources and the expiry."""
        cleaned = super().clean() or self.cleaned_data
        if bool(cleaned.get("limited")) != bool(cleaned.get("sources")):
            self.add_error("sources", "Choose at least one source for a limited token, and none for any other.")
        if self.limit is not None and not cleaned.get("limited"):
            self.add_error("limited", "You see only some sources, and so may a token that you make.")
        self.set_expiry(cleaned)
        return cleaned

    def set_expiry(self, cleaned: dict[str, Any]) -> None:
        lasts, expires_at = cleaned.get("lasts"), cleaned.get("expires_at")
        if lasts == Lifetime.GIVEN:
            if expires_at is None and "expires_at" not in self.errors:
                self.add_error("expires_at", "Give the time until which it lasts.")
            if expires_at is not None and expires_at <= timezone.now():
                self.add_error("expires_at", "A time in the future is allowed.")
        elif expires_at is not None:
            self.add_error("expires_at", "A time is given only where you choose so above.")
        elif lasts and lasts != Lifetime.FOREVER:
            cleaned["expires_at"] = timezone.now() + timedelta(days=int(lasts))


class ConfirmRevokeForm(forms.Form):
    """Confirms what cannot be undone."""

    sure = forms.BooleanField(label="Whatever uses it stops working, for good")


@admin.register(ApiToken)
class ApiTokenAdmin(PortalAdmin):
    """Tokens, the latest first. They are revoked and never changed or deleted, so that the list stays true."""

    form = TokenForm
    exported = build_columns(
        ApiToken,
        "name",
        "prefix",
        "scopes",
        "limited",
        "rate",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
        created_by="created_by__username",
    )
    list_display = (
        "name",
        "prefix_shown",
        "state",
        "scopes_shown",
        "sees",
        "expires",
        "last_used",
        "created_by",
    )
    actions = None
    fields = ("name", "scopes", "limited", "sources", "lasts", "expires_at", "rate")
    view_fields = (
        "name",
        "prefix_shown",
        "state",
        "scopes_shown",
        "sees",
        "expires",
        "rate_shown",
        "revoked_at",
        "last_used_at",
        "created_by",
        "created_at",
    )
    prefix_shown = build_list_column("secret begins with", lambda token: f"{token.prefix}…")
    last_used = build_list_column("last used", lambda token: format_age(token.last_used_at))
    rate_shown = build_list_column("requests", lambda token: token.rate or "as often as the settings say")
    scopes_shown = build_list_column(
        "may", lambda token: render_prose(", ".join(Scope(scope).label.lower() for scope in token.scopes))
    )
    expires = build_list_column(
        "expires (UTC)", lambda token: format_timestamp(token.expires_at) if token.expires_at else "never"
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the tokens; for a user limited to sources, only those limited to them too."""
        tokens = super().get_queryset(request).select_related("created_by").prefetch_related("sources").defer("digest")
        source_ids = get_staff_scope(request)
        if source_ids is None:
            return tokens
        wider_token_ids = ApiToken.sources.through.objects.exclude(source__in=source_ids).values("apitoken")
        return tokens.filter(limited=True).exclude(pk__in=wider_token_ids)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.actor, form.limit = request_user(request), get_staff_scope(request)
        return form

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the form of a new token, or the properties of an existing token."""
        if obj is not None:
            return self.view_fields
        choosable = get_staff_scope(request) is not None or Source.objects.exists()
        return [name for name in self.fields if choosable or name not in SOURCE_FIELDS]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: tokens are revoked, not deleted."""
        return False

    def build_page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Offer a single save button: the next page shows the secret."""
        return {"show_save_and_add_another": False, "show_save_and_continue": False}

    def save_model(self, request: Any, obj: ApiToken, form: Any, change: bool) -> None:
        """Create the token; the response to this request shows its secret."""
        cleaned = form.cleaned_data
        token, request.new_secret = create_token(
            cleaned["name"],
            cleaned["scopes"],
            sources=cleaned["sources"] if cleaned["limited"] else None,
            expires_at=cleaned["expires_at"],
            rate=cleaned["rate"],
            created_by=request.user,
        )
        obj.pk, obj.prefix = token.pk, token.prefix

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Do nothing: the token was created with its sources."""

    def response_add(self, request: Any, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret, on a page that is not cached."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API token created",
            "opts": self.opts,
            "token": obj,
            "secret": request.new_secret,
        }
        return render_secret(request, context)

    def get_page_actions(self, request: HttpRequest, obj: ApiToken) -> Sequence[PageAction]:
        if obj.revoked_at or not request.user.has_perm("accounts.change_apitoken"):
            return ()
        form = None if is_expired(obj) else ConfirmRevokeForm(auto_id="revoke_%s")
        return (PageAction("revoke", "Revoke", self.revoke, form=form),)

    def revoke(self, request: HttpRequest, token: ApiToken) -> None:
        """Revoke a token; a token that is not expired needs the confirmation."""
        if not is_expired(token) and not ConfirmRevokeForm(request.POST).is_valid():
            messages.error(request, "Tick the box to confirm; then the token is revoked.")
            return
        token.revoke()
        self.log_change(request, token, "Revoked.")
        messages.success(request, f"{token} is revoked.")

    @admin.display(description="state")
    def state(self, token: ApiToken) -> SafeString:
        if token.revoked_at:
            return render_badge("Revoked", "plain")
        if is_expired(token):
            return render_badge("Expired", "plain")
        if token.expires_at and token.expires_at <= timezone.now() + EXPIRES_SOON:
            return render_badge("Expires soon", "warn")
        return render_badge("Usable", "good")

    @admin.display(description="sees")
    def sees(self, token: ApiToken) -> SafeString | str:
        slugs = ", ".join(sorted(source.slug for source in token.sources.all())) or "no source"
        return render_prose(slugs) if token.limited else "all sources"


def is_expired(token: ApiToken) -> bool:
    """Return whether a token is expired."""
    return token.expires_at is not None and token.expires_at <= timezone.now()


@never_cache
def render_secret(request: HttpRequest, context: dict[str, Any]) -> TemplateResponse:
    """Return the page that shows a new secret."""
    return TemplateResponse(request, "admin/portal/token_made.html", context)
