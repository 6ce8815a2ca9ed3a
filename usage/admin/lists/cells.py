"""Cells of the usage lists and of a record's page: ids to copy, names before ids, tags, withdrawn records."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from usage.directory.lookup import NAMED_COLUMNS, KnownName, Names
from usage.formatting import NOTHING, format_date
from usage.models import UsageRecord

MAX_TAGS = 3
MAX_ID_LENGTH, TAIL_LENGTH = 16, 6  # characters; ids of one kind often begin alike


def render_id(value: Any) -> SafeString | str:
    """Return an id as a narrow cell. One click selects all of it; CSS cuts the middle of a long id."""
    if value in (None, ""):
        return NOTHING
    text = str(value)
    if len(text) <= MAX_ID_LENGTH:
        return format_html('<span class="code" title="{0}">{0}</span>', text)
    head, tail = text[:-TAIL_LENGTH], text[-TAIL_LENGTH:]
    return format_html('<span class="code cut" title="{}"><span>{}</span>{}</span>', text, head, tail)


def render_name(name: SafeString | str, identifier: Any) -> SafeString | str:
    """Return a name with its id below, or the id alone where it has no name."""
    if not name:
        return render_id(identifier)
    return format_html('<span class="named">{}{}</span>', name, render_id(identifier) if identifier else "")


def render_known_name(record: UsageRecord, column: str) -> SafeString | str:
    """Return an id of a record with its name of today before it, as far as the list has fetched the names."""
    identifier, names = getattr(record, column), getattr(record, "directory_names", Names())
    name = names.find(NAMED_COLUMNS[type(record)][column], identifier, record.source_id)
    return render_name(render_shown_name(name), identifier) if name else render_id(identifier)


def render_shown_name(name: KnownName) -> SafeString | str:
    """Return a name, with a note where the vendor no longer lists its id."""
    if not name.is_gone:
        return name.text
    return format_html('{} <span class="quiet">(no longer at the vendor)</span>', name.text)


def render_first_cell(record: UsageRecord, text: str) -> SafeString | str:
    """Return the first cell of a record; if it is withdrawn, struck through and with the date."""
    if record.withdrawn_at is None:
        return text
    return format_html(
        '<s class="withdrawn">{}</s><span class="since">withdrawn {}</span>', text, format_date(record.withdrawn_at)
    )


def iterate_tags(tags: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every tag as (key, value); a repeated key has a list of values."""
    for key, values in tags.items():
        for value in values if isinstance(values, list) else (values,):
            yield key, str(value)


def render_tags(tags: Mapping[str, Any]) -> SafeString | str:
    """Return the first tags as chips, and the number of the others."""
    pairs = list(iterate_tags(tags))
    if not pairs:
        return ""
    chips = format_html_join(" ", '<span class="chip">{}: {}</span>', pairs[:MAX_TAGS])
    hidden_tags = ", ".join(f"{key}: {value}" for key, value in pairs[MAX_TAGS:])
    more = (
        format_html(' <span class="quiet" title="{}">+{}</span>', hidden_tags, len(pairs) - MAX_TAGS)
        if hidden_tags
        else ""
    )
    return format_html('<span class="chips">{}{}</span>', chips, more)
