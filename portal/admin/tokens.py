"""API tokens on the staff pages: made, shown once, watched, revoked."""

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

from portal import rights
from portal.models import ApiToken, Scope, create_token
from usage.access import staff_scope
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import ago, at, badge, prose
from usage.columns import columns_at
from usage.models import Source

SOON = timedelta(days=14)


class Lasts(models.TextChoices):
    """How long a new token opens anything."""

    MONTH = "30", "30 days"
    QUARTER = "90", "90 days"
    YEAR = "365", "One year"
    GIVEN = "given", "Until the time given below"
    FOREVER = "forever", "For ever, until it is revoked"


OF_SOURCES = ("limited", "sources")  # not asked while there is no source to choose


class TokenForm(forms.ModelForm[ApiToken]):
    """What a new token is for, may do and may see: nothing that whoever makes it may not do and see."""

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
        choices=Lasts.choices,
        initial=Lasts.QUARTER,
        help_text="From then on it opens nothing. The overview tells of tokens that are about to expire.",
    )

    actor: ClassVar[Any]
    limit: ClassVar[frozenset[int] | None]

    class Meta:
        model = ApiToken
        fields = ("name", "scopes", "limited", "sources", "lasts", "expires_at", "rate")
        labels = {"expires_at": "Expires at (UTC)", "rate": "Requests"}
        help_texts = {"expires_at": "Only where you choose so above."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scopes, sources = self.fields["scopes"], self.fields["sources"]
        assert isinstance(scopes, forms.MultipleChoiceField)  # noqa: S101
        assert isinstance(sources, forms.ModelMultipleChoiceField)  # noqa: S101
        scopes.choices = [(value, f"{label} ({value})") for value, label in rights.scopes_to_give(self.actor)]
        if self.limit is not None:
            sources.queryset = sources.queryset.filter(pk__in=self.limit) if sources.queryset is not None else None
            self.fields["limited"].initial = True

    def clean(self) -> dict[str, Any]:
        """A token is limited to at least one source, or sees all of them; its end lies ahead."""
        given = super().clean() or self.cleaned_data
        if bool(given.get("limited")) != bool(given.get("sources")):
            self.add_error("sources", "Choose at least one source for a limited token, and none for any other.")
        if self.limit is not None and not given.get("limited"):
            self.add_error("limited", "You see only some sources, and so may a token that you make.")
        self.judge_end(given)
        return given

    def judge_end(self, given: dict[str, Any]) -> None:
        """Put the instant at which the token ends in the place of what was chosen."""
        lasts, expires_at = given.get("lasts"), given.get("expires_at")
        if lasts == Lasts.GIVEN:
            if expires_at is None and "expires_at" not in self.errors:
                self.add_error("expires_at", "Give the time until which it lasts.")
            if expires_at is not None and expires_at <= timezone.now():
                self.add_error("expires_at", "A time in the future is allowed.")
        elif expires_at is not None:
            self.add_error("expires_at", "A time is given only where you choose so above.")
        elif lasts and lasts != Lasts.FOREVER:
            given["expires_at"] = timezone.now() + timedelta(days=int(lasts))


class Sure(forms.Form):
    """A second thought before what cannot be undone."""

    sure = forms.BooleanField(label="Whatever uses it stops working, for good")


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
    list_display = ("name", "prefix_shown", "state", "scopes_shown", "sees", "expires", "last_used", "created_by")
    actions = None
    fields = ("name", "scopes", "limited", "sources", "lasts", "expires_at", "rate")
    shown = (
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Fetch who made it along; whoever sees only some sources sees the tokens for those and no others."""
        tokens = super().get_queryset(request).select_related("created_by").prefetch_related("sources").defer("digest")
        only = staff_scope(request)
        if only is None:
            return tokens
        beyond = ApiToken.sources.through.objects.exclude(source__in=only).values("apitoken")
        return tokens.filter(limited=True).exclude(pk__in=beyond)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Tell the form who fills it in."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.actor, form.limit = rights.me(request), staff_scope(request)
        return form

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The form for a new token, everything but the secret for one that is there."""
        if obj is not None:
            return self.shown
        choosable = staff_scope(request) is not None or Source.objects.exists()
        return [name for name in self.fields if choosable or name not in OF_SOURCES]

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
        return (PageAction("revoke", "Revoke", self.revoke, form=None if expired(obj) else Sure(auto_id="revoke_%s")),)

    def revoke(self, request: HttpRequest, token: ApiToken) -> None:
        """Make a token open nothing; for who means it, where something may still use it."""
        if not expired(token) and not Sure(request.POST).is_valid():
            messages.error(request, "Tick the box to say that you mean it; then the token is revoked.")
            return
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
        if expired(token):
            return badge("Expired", "plain")
        if token.expires_at and token.expires_at <= timezone.now() + SOON:
            return badge("Expires soon", "warn")
        return badge("Usable", "good")

    @admin.display(description="may")
    def scopes_shown(self, token: ApiToken) -> SafeString | str:
        """What it may be used for, in words."""
        return prose(", ".join(Scope(scope).label.lower() for scope in token.scopes))

    @admin.display(description="sees")
    def sees(self, token: ApiToken) -> SafeString | str:
        """The sources it sees."""
        named = ", ".join(sorted(source.slug for source in token.sources.all())) or "no source"
        return prose(named) if token.limited else "all sources"

    @admin.display(description="expires (UTC)")
    def expires(self, token: ApiToken) -> str:
        """When."""
        return at(token.expires_at) if token.expires_at else "never"

    @admin.display(description="last used")
    def last_used(self, token: ApiToken) -> str:
        """How long ago."""
        return ago(token.last_used_at)

    @admin.display(description="requests")
    def rate_shown(self, token: ApiToken) -> str:
        """How often it may ask."""
        return token.rate or "as often as the settings say"


def expired(token: ApiToken) -> bool:
    """Tell whether a token's time is over."""
    return token.expires_at is not None and token.expires_at <= timezone.now()


@never_cache
def shown_once(request: HttpRequest, context: dict[str, Any]) -> TemplateResponse:
    """Return the one page that shows a secret."""
    return TemplateResponse(request, "admin/portal/token_made.html", context)
