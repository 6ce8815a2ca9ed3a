"""API tokens on the staff pages: made, shown once, watched, revoked."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from portal.models import ApiToken, Scope, create_token
from usage.access import in_staff_scope, staff_scope
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import badge
from usage.columns import columns_at
from usage.models import Source


class TokenForm(forms.ModelForm[ApiToken]):
    """What a new token is for, may do and may see."""

    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=[Scope.USAGE_READ],
        widget=forms.CheckboxSelectMultiple,
        help_text="What it may be used for.",
    )
    sources = forms.ModelMultipleChoiceField(
        Source.objects.defer("credential"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="The sources that a limited token sees.",
    )

    must_be_limited: ClassVar[bool] = False

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "limited", "sources", "expires_at", "rate")

    def clean(self) -> dict[str, Any]:
        """A token is limited to at least one source, or sees all of them."""
        given = super().clean() or self.cleaned_data
        if bool(given.get("limited")) != bool(given.get("sources")):
            self.add_error("sources", "Choose at least one source for a limited token, and none for any other.")
        if self.must_be_limited and not given.get("limited"):
            self.add_error("limited", "You see only some sources, and so may a token that you make.")
        expires_at = given.get("expires_at")
        if expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", "A time in the future is allowed.")
        return given


@admin.register(ApiToken)
class ApiTokenAdmin(PortalAdmin):
    """Tokens, the latest first: only ever revoked, never changed or deleted, so that the list stays true."""

    form = TokenForm
    exported = columns_at(
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
        "limited",
        "expires_at",
        "last_used_at",
        "created_by",
    )
    actions = None
    fields = ("name", "scopes", "limited", "sources", "expires_at", "rate")
    shown = (
        "name",
        "prefix_shown",
        "state",
        "scopes_shown",
        "limited",
        "sources",
        "expires_at",
        "rate",
        "revoked_at",
        "last_used_at",
        "created_by",
        "created_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch who made it along; whoever sees only some sources sees the tokens for those and no others."""
        tokens = super().get_queryset(request).select_related("created_by").defer("digest")
        only = staff_scope(request)
        if only is None:
            return tokens
        beyond = ApiToken.sources.through.objects.exclude(source__in=only).values("apitoken")
        return tokens.filter(limited=True).exclude(pk__in=beyond)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Offer the sources that whoever makes the token may see, and no more than those."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if obj is None:
            only = staff_scope(request)
            form.base_fields["sources"].queryset = in_staff_scope(Source.objects.defer("credential"), request, "id")
            form.base_fields["limited"].initial = form.must_be_limited = only is not None
        return form

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The form for a new token, everything but the secret for one that is there."""
        return self.fields if obj is None else self.shown

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Everything of a token that is there."""
        return () if obj is None else self.shown

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: what a token may do is what was agreed on when it was made."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody; revoking does it."""
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offer one way to save: what follows is the page with the secret."""
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**only_save, **(extra_context or {})})

    def save_model(self, request: Any, obj: ApiToken, form: Any, change: bool) -> None:
        """Make the token; its secret stays with this one request, whose answer shows it."""
        given = form.cleaned_data
        token, request.secret_shown_once = create_token(
            given["name"],
            given["scopes"],
            sources=given["sources"] if given["limited"] else None,
            expires_at=given["expires_at"],
            rate=given["rate"],
            created_by=request.user,
        )
        obj.pk, obj.prefix = token.pk, token.prefix

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing is left to save: the token was made with its sources."""

    def response_add(self, request: Any, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret, on a page that nothing keeps."""
        context = {
            **self.admin_site.each_context(request),
            "title": "The token is made",
            "opts": self.opts,
            "token": obj,
            "secret": request.secret_shown_once,
        }
        return shown_once(request, context)

    def page_actions(self, request: HttpRequest, obj: ApiToken) -> Sequence[PageAction]:
        """Revoking, for who may change tokens."""
        if obj.revoked_at or not request.user.has_perm("portal.change_apitoken"):
            return ()
        return (PageAction("revoke", "Revoke", self.revoke, "It opens nothing from then on, and that is for good."),)

    def revoke(self, request: HttpRequest, token: ApiToken) -> None:
        """Make a token open nothing."""
        token.revoke()
        self.log_change(request, token, "Revoked.")
        messages.success(request, f"{token} is revoked.")

    @admin.display(description="secret begins with")
    def prefix_shown(self, token: ApiToken) -> str:
        """How the secret begins."""
        return f"{token.prefix}…"

    @admin.display(description="state")
    def state(self, token: ApiToken) -> SafeString:
        """Whether it opens anything."""
        if token.revoked_at:
            return badge("Revoked", "plain")
        if token.expires_at and token.expires_at <= timezone.now():
            return badge("Expired", "plain")
        return badge("Usable", "good")

    @admin.display(description="scopes")
    def scopes_shown(self, token: ApiToken) -> str:
        """What it may be used for."""
        return ", ".join(token.scopes)


@never_cache
def shown_once(request: HttpRequest, context: dict[str, Any]) -> TemplateResponse:
    """Return the one page that shows a secret."""
    return TemplateResponse(request, "admin/portal/token_made.html", context)
