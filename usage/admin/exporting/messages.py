"""The texts of an export: its progress, and why it does not start."""

from typing import Final

from rest_framework.exceptions import APIException

from usage.api.errors import flatten_detail
from usage.exports.progress import ExportProgress, ExportState

TEXTS: Final = {
    ExportState.STARTING: "Starting…",
    ExportState.SENDING: "{number}{of} rows sent.",
    ExportState.DONE: "Done: {rows}.",
    ExportState.BROKEN_OFF: "The export broke off after {rows}. The file is not complete: delete it and export again.",
    ExportState.STOPPED: "Cancelled after {rows}. The saved file is not complete.",
    ExportState.ABANDONED: "The browser stopped the download after {rows}. The saved file is not complete.",
    ExportState.WAITING: "Another export is under way. This one starts by itself as soon as there is room.",
    ExportState.REFUSED: "{reason}",
}


def describe_progress(progress: ExportProgress) -> str:
    """Return how far an export has come, in a sentence."""
    if progress.state == ExportState.STOPPED and not progress.rows:
        return "Cancelled."
    return TEXTS[progress.state].format(
        number=f"{progress.rows:,}",
        of=describe_total(progress),
        rows=f"{progress.rows:,} {'row' if progress.rows == 1 else 'rows'}",
        reason=progress.reason,
    )


def describe_total(progress: ExportProgress) -> str:
    """Return the number of rows that are expected, as far as it is known."""
    if not progress.total:
        return ""
    return f" of {'about ' if progress.estimated else ''}{max(progress.total, progress.rows):,}"


def join_messages(error: APIException) -> str:
    """Return the texts of an error, however nested they are."""
    return " ".join(text for _, text in flatten_detail(error.detail))
