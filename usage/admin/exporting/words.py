"""What is said of an export: how far it has come, why it does not begin, and how far it can be trusted."""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

from usage.admin.records.cells import day_in_words
from usage.exports.progress import BROKEN_OFF, DONE, LEFT, REFUSED, SENDING, STARTING, STOPPED, WAITING, Note

SAID: Final = {
    STARTING: "Starting…",
    SENDING: "{number}{of} rows sent.",
    DONE: "Done: {rows}.",
    BROKEN_OFF: "The export broke off after {rows}. The file is not complete: delete it and export again.",
    STOPPED: "Cancelled after {rows}. What was saved is not complete.",
    LEFT: "The browser took no more after {rows}. What was saved is not complete.",
    WAITING: "Another export is under way. This one begins by itself as soon as there is room.",
    REFUSED: "{words}",
}


def in_words(note: Note) -> str:
    """Return how far an export has come, in a sentence."""
    if note.state == STOPPED and not note.rows:
        return "Cancelled."
    numbers = {"number": f"{note.rows:,}", "of": of_about(note), "rows": counted(note.rows)}
    return SAID[note.state].format(**numbers, words=note.words)


def of_about(note: Note) -> str:
    """Return the number of rows that are expected, as far as it is known."""
    if not note.about:
        return ""
    return f" of {'about ' if note.estimated else ''}{max(note.about, note.rows):,}"


def counted(rows: int) -> str:
    """Return a number of rows in words."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def trust_in_words(meta: dict[str, Any]) -> Iterator[str]:
    """Yield how far an export can be trusted, a sentence each."""
    missing, partial = meta["missing_days"]["total"], meta["partial_days"]["total"]
    if meta["complete"]:
        yield "Complete: every day of the range was read to its end, and every record was kept."
    else:
        through = f" It is complete through {on(meta['complete_through'])}." if meta["complete_through"] else ""
        gaps = ", ".join(
            f"{number:,} {'day' if number == 1 else 'days'} {what}"
            for number, what in ((missing, "never read"), (partial, "not read completely"))
            if number
        )
        yield f"Not complete{': ' if gaps else ''}{gaps}.{through}"
    if meta["provisional_from"]:
        yield f"From {on(meta['provisional_from'])} on, numbers may still change."
    if meta["restated_since"]:
        yield f"A day of it last came back different on {on(meta['restated_since'][:10])}."


def on(written: str) -> str:
    """Return a date as people say it: `1 Nov 2026`."""
    return day_in_words(date.fromisoformat(written))


def flat(detail: Any) -> Iterator[str]:
    """Yield the sentences of a refusal."""
    if isinstance(detail, dict):
        detail = list(detail.values())
    if not isinstance(detail, list):
        yield str(detail)
        return
    for part in detail:
        yield from flat(part)
