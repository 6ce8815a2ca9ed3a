"""What a message contains: the subject and the text of a mail, and the facts of a webhook."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from django.conf import settings
from django.urls import reverse

from portal.incidents.models import Event, Incident, Message
from usage.datetimes import format_iso
from usage.formatting import format_duration, format_instant

PREFIX = "Usage portal"
LONGEST_SUBJECT = 200
LABELS = {Event.OPENED: "", Event.REMINDER: "Still: ", Event.RESOLVED: "Resolved: "}
TEST_TEXT = "This is a test of the channel “{}”. Messages about incidents come this way."


@dataclass(frozen=True, slots=True)
class Content:
    """What a message contains. `title` is one line, `lines` what follows; `facts` the same for programs."""

    title: str
    lines: list[str]
    url: str
    facts: dict[str, Any]


def build_content(message: Message) -> Content:
    """Return what a message contains when it is sent."""
    event = Event(message.event)
    if message.incident is None:
        text = TEST_TEXT.format(message.channel)
        return Content("Test", [text], build_link(""), {"event": "test", "message": text})
    incident = message.incident
    title = f"{LABELS[event]}{incident.get_condition_display()}: {incident.subject}"
    url = build_link(reverse("admin:incidents_incident_change", args=[incident.pk]))
    facts = {"event": f"incident.{event}", "incident": describe_incident(incident, url)}
    return Content(to_line(title), build_lines(incident), url, facts)


def to_line(text: str) -> str:
    """Return a text on one line, without what could begin another line of a header, and short."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:LONGEST_SUBJECT]


def build_lines(incident: Incident) -> list[str]:
    """Return the text about an incident, as in the overview."""
    lines = [f"{incident.subject} {line}" for line in incident.message.splitlines()]
    lines += [incident.detail] if incident.detail else []
    times = f"Since {format_instant(incident.opened_at)}."
    if incident.resolved_at:
        duration = format_duration(int((incident.resolved_at - incident.opened_at).total_seconds()))
        times = f"From {format_instant(incident.opened_at)} to {format_instant(incident.resolved_at)}, {duration}."
    return [*lines, f"{incident.get_severity_display()}. {times}"]


def describe_incident(incident: Incident, url: str) -> dict[str, Any]:
    """Return the facts of an incident, JSON-ready, by the names that the API has."""
    return {
        "id": incident.pk,
        "condition": incident.condition,
        "subject": incident.subject,
        "severity": incident.severity,
        "state": incident.state,
        "message": incident.message,
        "detail": incident.detail,
        "opened_at": format_iso(incident.opened_at),
        "resolved_at": format_iso(incident.resolved_at),
        "acknowledged_at": format_iso(incident.acknowledged_at),
        "acknowledged_by": incident.acknowledged_by,
        "url": url,
    }


def build_link(path: str) -> str:
    """Return the address of a page, "" where PORTAL_URL is not set."""
    return urljoin(f"{settings.PORTAL_URL.rstrip('/')}/", path.lstrip("/")) if settings.PORTAL_URL else ""
