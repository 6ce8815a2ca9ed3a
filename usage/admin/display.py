"""How values look on the pages: numbers exact and aligned, durations also in words, JSON laid out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from usage.exactly import to_places

NOTHING = "–"
PLACES: Final = 2


@dataclass(frozen=True, slots=True)
class Table:
    """A table within a page: its columns, its rows of cells, and what to say where there is none."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    empty: str = "None."


def exact(value: Decimal | int | None) -> str:
    """Return a number with all its digits, thousands apart and no needless zeros: `1,234.5`; `–` for None."""
    if value is None:
        return NOTHING
    if not isinstance(value, Decimal):
        return f"{value:,}"
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(value: Decimal) -> str:
    """Return a number as it is read: with two decimal places, or to three digits where it is below one."""
    if value == value.to_integral_value():
        return exact(value)
    return exact(to_places(value, PLACES if abs(value) >= 1 else PLACES - value.adjusted()))


def duration(seconds: Decimal | None) -> str:
    """Return seconds in the two largest units that matter: `3 d 4 h`, `4 h 12 min`, `12 min 5 s`, `5.2 s`."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{exact(round(seconds, 1))} s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days:,} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def quantity(value: Decimal | int | None, unit: str = "") -> SafeString:
    """Return a number as a right-aligned cell, its unit set apart."""
    if value is None or not unit:
        return format_html('<span class="number">{}</span>', exact(value))
    return format_html('<span class="number">{} <span class="unit">{}</span></span>', exact(value), unit)


def runtime(seconds: Decimal | None) -> SafeString:
    """Return a duration in words beside its exact seconds."""
    if seconds is None:
        return format_html('<span class="number">{}</span>', NOTHING)
    return format_html(
        '<span class="number">{} <span class="exact">{} s</span></span>', duration(seconds), exact(seconds)
    )


def way_to(request: HttpRequest, row: Model, words: Any) -> SafeString:
    """Return words that lead to the page of a row, for whoever may open it, and the words alone for others."""
    app, model = row._meta.app_label, row._meta.model_name
    if not request.user.has_perm(f"{app}.view_{model}"):
        return format_html("{}", words)
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{app}_{model}_change", args=[row.pk]), words)


def prose(text: str) -> SafeString | str:
    """Return a text of some length as a cell of its own width; nothing for no text."""
    return format_html('<span class="prose">{}</span>', text) if text else ""


def laid_out(value: Any) -> SafeString | str:
    """Return JSON one field a line, escaped; `–` where there is nothing."""
    if not value:
        return NOTHING
    return format_html('<pre class="json">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


def verbatim(text: str) -> SafeString | str:
    """Return text exactly as it came, escaped; `–` where there is none."""
    return format_html('<pre class="json">{}</pre>', text) if text else NOTHING


def at(instant: datetime | None) -> str:
    """Return an instant to the second, in UTC; `–` for None."""
    return f"{instant:%Y-%m-%d %H:%M:%S}" if instant else NOTHING


def ago(instant: datetime | None) -> str:
    """Return how long ago an instant was, in one unit: `just now`, `5 minutes ago`, `2 days ago`."""
    if instant is None:
        return "never"
    minutes = int((timezone.now() - instant).total_seconds() // 60)
    for size, name in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes >= size:
            number = minutes // size
            return f"{number:,} {name}{'' if number == 1 else 's'} ago"
    return "just now"


def badge(text: str, tone: str) -> SafeString:
    """Return a short word on a quiet colour; `tone` is good, busy, warn, bad or plain."""
    return format_html('<span class="badge badge-{}">{}</span>', tone, text)
