"""Alerts: what is wrong and needs a person, a line each, with buttons and links."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from portal.incidents.conditions import ConditionKind
from usage.models import Source

# Whether the reader of alerts has a permission: what they may press and open goes by it.
HasPerm = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class AlertLink:
    """A label and an address: a button posts to it, a link opens it."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A line. `tone` is bad or warn, `state` a word, `subject` what it is about; `url` is the subject's page.

    `key` is the permanent name of the subject, such as `source:3`: an incident has one condition and one key.
    `days`: how many days the line is about, 0 where it is not about days.
    """

    condition: ConditionKind
    key: str
    tone: str
    state: str
    subject: str
    message: str
    detail: str = ""
    url: str = ""
    buttons: Sequence[AlertLink] = ()
    links: Sequence[AlertLink] = ()
    source_id: int | None = None
    days: int = 0


def build_button(action: str, pk: int, label: str) -> AlertLink:
    """Return the button of an action in `portal.dashboard.actions`."""
    return AlertLink(label, reverse("admin:alert_action", args=[action, pk]))


def build_list_link(name: str, label: str, **params: str) -> AlertLink:
    """Return the link to a list with its filters."""
    return AlertLink(label, f"{reverse(f'admin:{name}_changelist')}?{urlencode(params)}")


def get_source_url(source: Source) -> str:
    """Return the address of a source's page."""
    return reverse("admin:usage_source_change", args=[source.pk])


def build_source_alert(
    condition: ConditionKind,
    source: Source,
    tone: str,
    state: str,
    message: str,
    detail: str = "",
    *,
    buttons: Sequence[AlertLink] = (),
    links: Sequence[AlertLink] = (),
    days: int = 0,
) -> Alert:
    """Return an alert about a source, or about so many days of it."""
    return Alert(
        condition=condition,
        key=f"source:{source.pk}",
        tone=tone,
        state=state,
        subject=source.slug,
        message=message,
        detail=detail,
        url=get_source_url(source),
        buttons=buttons,
        links=links,
        source_id=source.pk,
        days=days,
    )
