"""What needs a person, as the first page shows it: lines in plain words with the buttons that mend."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from portal.models import ApiToken
from sync.admin.actions import may_sync
from usage.admin.display import ago

EXPIRES_SOON: Final = timedelta(days=14)
EXPIRED_LATELY: Final = timedelta(days=30)
MOST_TOKENS: Final = 20


@dataclass(frozen=True, slots=True)
class Way:
    """Something to press or to follow: a button posts to `url`, a link opens it."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Need:
    """One line: `tone` (bad or warn), what it is of, what is wrong, and what can be done about it.

    `state` is the trouble in a word; `url` is the page of what it is of.
    """

    tone: str
    state: str
    about: str
    words: str
    detail: str = ""
    url: str = ""
    buttons: Sequence[Way] = ()
    links: Sequence[Way] = ()


@dataclass(frozen=True, slots=True)
class Rights:
    """What this person may press and open."""

    sync: bool
    change_source: bool
    see_days: bool
    see_rejected: bool
    see_tokens: bool
    add_token: bool
    change_token: bool

    @classmethod
    def of(cls, request: HttpRequest) -> "Rights":
        """Ask for them all."""
        may = request.user.has_perm
        return cls(
            sync=may_sync(request),
            change_source=may("usage.change_source"),
            see_days=may("usage.view_sourceday"),
            see_rejected=may("usage.view_rejectedrecord"),
            see_tokens=may("portal.view_apitoken"),
            add_token=may("portal.add_apitoken"),
            change_token=may("portal.change_apitoken"),
        )


def mending(what: str, pk: int, label: str) -> Way:
    """Return the button for something that `portal.overview.mending` does."""
    return Way(label, reverse("admin:mend", args=[what, pk]))


def listed(name: str, label: str, **asked: str) -> Way:
    """Return the link to a list with its filters."""
    return Way(label, f"{reverse(f'admin:{name}_changelist')}?{urlencode(asked)}")


def of_tokens(request: HttpRequest, rights: Rights) -> list[Need]:
    """Return a line for every token that expires soon or did lately, for who may see tokens at all."""
    if not rights.see_tokens:
        return []
    now = timezone.now()
    expiring = (
        admin.site.get_model_admin(ApiToken)
        .get_queryset(request)
        .filter(revoked_at=None, expires_at__gt=now - EXPIRED_LATELY, expires_at__lt=now + EXPIRES_SOON)
    )
    return [of_token(token, rights) for token in expiring.order_by("expires_at")[:MOST_TOKENS]]


def of_token(token: ApiToken, rights: Rights) -> Need:
    """Return the line of one token."""
    assert token.expires_at is not None  # noqa: S101 (only such are asked for)
    expired = token.expires_at <= timezone.now()
    when = f"{token.expires_at.day} {token.expires_at:%b %Y}"
    successor = Way("Make its successor", f"{reverse('admin:portal_apitoken_add')}?{urlencode({'name': token.name})}")
    return Need(
        tone="bad" if expired else "warn",
        state="Expired" if expired else "Expires",
        about=f"Token {token.name}",
        words=f"It expired on {when}; whoever still uses it is refused."
        if expired
        else f"It expires {ahead(token.expires_at)}, on {when}.",
        detail=f"Last used {ago(token.last_used_at)}." if token.last_used_at else "It was never used.",
        url=reverse("admin:portal_apitoken_change", args=[token.pk]),
        buttons=[mending("revoke", token.pk, "Revoke")] if expired and rights.change_token else [],
        links=[successor] if rights.add_token else [],
    )


def ahead(instant: datetime) -> str:
    """Return how far ahead an instant is, in days: `today`, `tomorrow`, `in 5 days`."""
    days = (instant.date() - timezone.now().date()).days
    return {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")
