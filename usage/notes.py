"""The notes that a chart shows."""

from collections.abc import Collection
from datetime import date

from django.db.models import Q

from usage.models import Note

MOST = 200  # on one chart


def fetch_notes(first: date, end: date, source_ids: Collection[int]) -> list[Note]:
    """Return the latest MOST notes of the days `[first, end)` about these sources or all, the earliest first."""
    scope = Q(source=None) | Q(source_id__in=list(source_ids))
    notes = Note.objects.filter(scope, day__gte=first, day__lt=end).select_related("source").defer("source__credential")
    return list(notes.order_by("-day", "-pk")[:MOST])[::-1]


def describe_note(note: Note) -> str:
    """Return a note with the source that it is about: `migration (gcore-main)`."""
    return f"{note.text} ({note.source})" if note.source else note.text
