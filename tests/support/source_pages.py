"""The staff's pages of sources: people, URLs, and the forms that a browser sends."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from usage.models import Source

CREDENTIAL = "secret-that-no-page-may-show"
ADD = "/admin/usage/source/add/"


def sign_in(client: Client, *permissions: str) -> None:
    """Sign someone in who has these permissions and no others."""
    user = User.objects.create_user("sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)


def get_page_url(source: Source) -> str:
    """Return the address of a source's page."""
    return reverse("admin:usage_source_change", args=[source.pk])


def get_action_url(source: Source, name: str) -> str:
    """Return the address of a button of that page."""
    return reverse("admin:usage_source_do", args=[source.pk, name])


def build_form(source: Source, **changed: Any) -> dict[str, Any]:
    """Return the form data that a browser sends for a source, with some fields changed."""
    return {
        "slug": source.slug,
        "vendor": source.vendor,
        "base_url": source.base_url,
        "time_zone": source.time_zone,
        "enabled": "on",
        "backfill_from": source.backfill_from.isoformat(),
        "interval_minutes": 60,
        "look_back_days": 3,
        "max_concurrency": 2,
        "requests_per_minute": "",
        "credential_env": source.credential_env,
        "new_credential": "",
        **changed,
    }


def list_messages(response: Any) -> list[str]:
    """Return the messages of a page."""
    return [str(message) for message in response.context["messages"]]


def build_new_form(**values: Any) -> dict[str, Any]:
    """Return the form data that a browser sends for a new source, with few fields set."""
    blank = Source(slug="one", vendor="ona", backfill_from=timezone.now().date())
    return build_form(blank, **{"time_zone": "", "new_credential": CREDENTIAL, "backfill_from": "", **values})
