"""Alerts about API tokens that expire soon or expired lately."""

from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from portal.accounts.models import ApiToken
from portal.incidents.alerts import Alert, AlertLink, HasPerm, build_button
from portal.incidents.conditions import ConditionKind
from usage.formatting import format_age, format_date, format_days_ahead

EXPIRES_SOON: Final = timedelta(days=14)
EXPIRED_LATELY: Final = timedelta(days=30)
MAX_TOKENS: Final = 20


def build_token_alerts(request: HttpRequest, has_perm: HasPerm) -> list[Alert]:
    """Return an alert for every token that expires soon or expired lately, for a person who may see tokens."""
    if not has_perm("accounts.view_apitoken"):
        return []
    tokens = admin.site.get_model_admin(ApiToken).get_queryset(request)
    return [build_token_alert(token, has_perm) for token in filter_expiring(tokens)[:MAX_TOKENS]]


def filter_expiring(tokens: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
    """Return the tokens that expire soon or expired lately, the earliest first."""
    now = timezone.now()
    expiring = tokens.filter(revoked_at=None, expires_at__gt=now - EXPIRED_LATELY, expires_at__lt=now + EXPIRES_SOON)
    return expiring.order_by("expires_at")


def build_token_alert(token: ApiToken, has_perm: HasPerm) -> Alert:
    """Return the alert of a token."""
    assert token.expires_at is not None  # noqa: S101
    is_expired = token.expires_at <= timezone.now()
    date = format_date(token.expires_at)
    add_url = f"{reverse('admin:accounts_apitoken_add')}?{urlencode({'name': token.name})}"
    return Alert(
        condition=ConditionKind.TOKEN_EXPIRES,
        key=f"token:{token.pk}",
        tone="bad" if is_expired else "warn",
        state="Expired" if is_expired else "Expires",
        subject=f"API token {token.name}",
        message=f"expired on {date} and is refused."
        if is_expired
        else f"expires {format_days_ahead(token.expires_at)}, on {date}.",
        detail=f"Last used {format_age(token.last_used_at)}." if token.last_used_at else "Never used.",
        url=reverse("admin:accounts_apitoken_change", args=[token.pk]),
        buttons=[build_button("revoke", token.pk, "Revoke")]
        if is_expired and has_perm("accounts.change_apitoken")
        else [],
        links=[AlertLink("Create a new token", add_url)] if has_perm("accounts.add_apitoken") else [],
    )
