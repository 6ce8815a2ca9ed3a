"""Cells of the usage lists and of a record's page: ids to copy, names before ids, tags, what was withdrawn."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from usage.admin.display import NOTHING
from usage.models import UsageRecord

MOST_TAGS = 3
LONGEST_CODE, TAIL = 16, 6  # characters; ids of one kind often begin alike


def day_in_words(on: date) -> str:
    """Return a date as people say it: `1 Nov 2026`."""
    return f"{on.day} {on:%b %Y}"


def code(value: Any) -> SafeString | str:
    """Return an id as a narrow cell: one click selects the whole of it; of a long one its middle is not seen."""
    if value in (None, ""):
        return NOTHING
    text = str(value)
    if len(text) <= LONGEST_CODE:
        return format_html('<span class="code" title="{0}">{0}</span>', text)
    head, tail = text[:-TAIL], text[-TAIL:]
    return format_html('<span class="code cut" title="{}"><span>{}</span>{}</span>', text, head, tail)


def named(name: str, identifier: Any) -> SafeString | str:
    """Return a name with its id below, or the id alone where it has no name."""
    if not name:
        return code(identifier)
    return format_html('<span class="named">{}{}</span>', name, code(identifier) if identifier else "")


def struck(record: UsageRecord, text: str) -> SafeString | str:
    """Return the first cell of a record; where the vendor no longer reports it, struck through, and since when."""
    if record.withdrawn_at is None:
        return text
    return format_html(
        '<s class="withdrawn">{}</s><span class="since">withdrawn {}</span>', text, day_in_words(record.withdrawn_at)
    )


def pairs(tags: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every tag as (key, value); a key that was given more than once has several."""
    for key, said in tags.items():
        for value in said if isinstance(said, list) else (said,):
            yield key, str(value)


def chips(tags: Mapping[str, Any]) -> SafeString | str:
    """Return the first of the tags as chips, and how many there are besides."""
    found = list(pairs(tags))
    if not found:
        return ""
    shown = format_html_join(" ", '<span class="chip">{}: {}</span>', found[:MOST_TAGS])
    more = len(found) - MOST_TAGS
    rest = ", ".join(f"{key}: {value}" for key, value in found[MOST_TAGS:])
    return format_html(
        '<span class="chips">{}{}</span>',
        shown,
        format_html(' <span class="quiet" title="{}">+{}</span>', rest, more) if more > 0 else "",
    )
