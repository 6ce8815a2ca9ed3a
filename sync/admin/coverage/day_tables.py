"""The tables of a day: its differences, the mismatches of its stored records, and its latest history."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.http import HttpRequest

from sync.admin.badges import build_attempt_badge, build_rejected_badge
from sync.admin.coverage.messages import MISMATCHES
from usage.admin.display import Table, render_json, render_link, render_number, render_prose
from usage.admin.restatement_diff import compare_sums, describe_affected, render_differences
from usage.formatting import NOTHING, format_duration, format_signed, format_timestamp
from usage.models import SourceDay

MAX_ROWS: Final = 20
# The fields of a difference besides its place.
FIGURES: Final = frozenset({"what", "vendor", "portal", "rejected"})


def build_differences_table(differences: list[dict[str, Any]]) -> Table:
    """Return where the vendor's totals differ from the sums of the records."""
    columns = ("what", "of", "vendor's total", "stored", "difference")
    return Table("Differences from the vendor's totals", columns, [build_difference(item) for item in differences])


def build_difference(difference: dict[str, Any]) -> list[Any]:
    """Return one row: what differs, where, the two numbers, and their difference."""
    where = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in difference.items() if name not in FIGURES)
    vendor, stored = parse_decimal(difference.get("vendor")), parse_decimal(difference.get("portal"))
    change = format_signed(stored - vendor) if vendor is not None and stored is not None else NOTHING
    return [
        difference.get("what", NOTHING),
        render_prose(where),
        render_number(vendor),
        render_number(stored),
        render_number(change),
    ]


def parse_decimal(text: str | None) -> Decimal | None:
    """Return a number that was stored as text; None for none."""
    try:
        return Decimal(text) if text else None
    except InvalidOperation:
        return None


def build_mismatch_table(mismatch: list[dict[str, Any]]) -> Table:
    """Return the mismatches of the check of stored records: the stored and the expected figure."""
    rows = [
        [MISMATCHES.get(item["code"], item["code"]), *(build_figure(item.get(name)) for name in ("stored", "expected"))]
        for item in mismatch
    ]
    return Table("Differences found by the check of stored records", ("what", "stored", "expected"), rows)


def build_figure(figure: Any) -> Any:
    """Return a figure of the check as a cell: a number, a digest, or the sums by their names."""
    if figure is None:
        return NOTHING
    return render_number(figure) if isinstance(figure, int) else render_json(figure)


def build_attempts_table(day: SourceDay) -> Table:
    """Return the latest attempts to sync a day."""
    columns = ("#", "started (UTC)", "outcome", "error", "records", "changed", "duration", "requests", "worker")
    rows = [
        [
            render_number(attempt.number),
            format_timestamp(attempt.started_at),
            build_attempt_badge(attempt),
            render_prose(attempt.error),
            render_number(attempt.fetched),
            render_number(attempt.inserted + attempt.changed + attempt.withdrawn + attempt.returned),
            render_number(format_duration(attempt.seconds)),
            render_number(attempt.requests),
            attempt.worker,
        ]
        for attempt in day.attempts.all()[:MAX_ROWS]
    ]
    return Table("Attempts", columns, rows, "None.")


def build_restatements_table(request: HttpRequest, day: SourceDay) -> Table:
    """Return the latest restatements of a day."""
    rows = [
        [
            render_link(request, restatement, format_timestamp(restatement.at)),
            render_differences(compare_sums(restatement)),
            describe_affected(restatement),
        ]
        for restatement in day.restatements.all()[:MAX_ROWS]
    ]
    columns = ("restated at (UTC)", "difference", "records affected")
    return Table("Restatements", columns, rows, "None.")


def build_rejected_table(request: HttpRequest, day: SourceDay) -> Table:
    """Return the latest rejected records of a day, unresolved records first."""
    rows = [
        [
            render_link(request, record, record.reason),
            build_rejected_badge(record),
            format_timestamp(record.last_seen_at),
        ]
        for record in day.rejected_records.all()[:MAX_ROWS]
    ]
    return Table("Rejected records", ("reason", "status", "last seen (UTC)"), rows, "None.")
