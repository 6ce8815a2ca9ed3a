"""The messages of pages about a day of each status: a title, what it means for the numbers, and what to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils import timezone

from sync.admin.coverage.status import CalendarDay
from sync.engine.guard import FOR_A_PERSON, MISSING_MEASURE
from sync.health import Condition
from usage.data_quality.coverage import Coverage
from usage.days import get_today
from usage.formatting import format_count, format_date, format_instant, format_long_date
from usage.models import DayStatus, Source, SourceDay

# What the check of stored records compares, by its codes.
MISMATCHES: Final = {
    "records": "the number of records",
    "withdrawn": "the number of withdrawn records",
    "digest": "the records themselves",
    "sums": "the sums",
    "rollups": "the roll-ups",
    "archive": "what the archive has of the records",
    "lake": "the files of the archive",
}
NO_ACTION: Final = "Nothing to do."
NOT_STORED: Final = "Nothing of this day is stored: its usage is missing from every sum."
GAP_REASONS: Final = {
    DayStatus.PARTIAL: "Some of its records were rejected.",
    DayStatus.SUSPECT: "The last sync would remove too much, so it was not stored.",
    DayStatus.MISMATCHED: "The stored records differ from what was synced; the day is synced again.",
    DayStatus.UNVERIFIED: "The sums of its records differ from the vendor's totals.",
    DayStatus.WAITING: "It waits for its first sync.",
    DayStatus.MISSING: "The source has not been synced since.",
}


@dataclass(frozen=True, slots=True)
class DayMessage:
    """The message of a page about a day: its status, what that means for its numbers, what to do, and why it is so."""

    title: str
    meaning: str
    action: str = NO_ACTION
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DayContext:
    """The input of a message: a day of a calendar, its source, and its row where it has one."""

    source: Source
    day: CalendarDay
    row: SourceDay | None

    @property
    def source_day(self) -> SourceDay:
        """The row, for statuses that only days with a row have."""
        assert self.row is not None  # noqa: S101
        return self.row

    @property
    def records(self) -> str:
        return format_count(self.day.records, "record")

    @property
    def blocked(self) -> str:
        """Why the source is not synced; '' where it is."""
        return describe_block(self.source)

    @property
    def next_sync(self) -> str:
        """When the portal syncs the day again by itself."""
        if self.blocked:
            return "It is not synced before that is resolved."
        if self.source_day.due_at <= timezone.now():
            return "It is synced again within minutes."
        return f"It is synced again automatically on {format_instant(self.source_day.due_at)}."


def _describe_final(context: DayContext) -> DayMessage:
    stored = f"All {context.records} of this day are stored"
    if not context.day.verified:
        return DayMessage("Complete and final", f"{stored}. The vendor gives no totals to compare with.")
    agreement = describe_agreement(context.source_day)
    return DayMessage("Complete, verified and final", f"{stored}, and {agreement}.")


def describe_agreement(day: SourceDay) -> str:
    """Return what of a verified day agrees: its sums, or its total with a second figure of the vendor."""
    witness = day.witness or {}
    if witness.get("agrees"):
        return f"their total agrees with the vendor's second figure ({witness.get('endpoint', '')})"
    return "their sums agree with the vendor's totals"


def _describe_awaits_close(context: DayContext) -> DayMessage:
    agreement = f", and {describe_agreement(context.source_day)}" if context.day.verified else ""
    closing_date = context.source_day.final_from.astimezone(context.source.zone).date()
    return DayMessage(
        "Complete",
        f"All {context.records} of this day are stored{agreement}.",
        f"Nothing to do. The month's closing sync on {format_date(closing_date)} makes it final.",
    )


def _describe_provisional(context: DayContext) -> DayMessage:
    agreement = " Their sums agree with the vendor's totals." if context.day.verified else ""
    final_from = context.source_day.final_from.astimezone(context.source.zone).date()
    return DayMessage(
        "Complete, provisional",
        f"All {context.records} that the vendor reports so far are stored.{agreement} The vendor may still change "
        "them.",
        f"Nothing to do. The day is synced again automatically. A sync on {format_date(final_from)} or later makes it "
        "final.",
    )


def _describe_empty(_context: DayContext) -> DayMessage:
    return DayMessage(
        "Complete, no usage",
        "The day was synced after its end, and the vendor reported no usage.",
        "Nothing to do, unless you know that there was usage on this day.",
    )


def _describe_incomplete(context: DayContext) -> DayMessage:
    covered_until = context.source_day.covered_until
    until = f"up to {format_instant(covered_until)}" if covered_until else "for a part of the day"
    is_over = context.day.date < get_today(context.source.zone)
    return DayMessage(
        "Incomplete" if is_over else "Incomplete: the day is not over",
        f"{'Only usage' if is_over else 'Usage'} {until} is stored: {context.records}.",
        f"Nothing to do. {context.next_sync}",
        context.blocked,
    )


def _describe_pending(context: DayContext) -> DayMessage:
    meaning = "The day has started, and nothing of it is stored yet."
    return DayMessage("Not synced yet", meaning, "Nothing to do. It is synced automatically.", context.blocked)


def _describe_loading(_context: DayContext) -> DayMessage:
    return DayMessage("Being synced", "A worker syncs this day now.", "Wait a moment and reload the page.")


def _describe_unverified_accepted(context: DayContext) -> DayMessage:
    action = "Nothing to do. Other differences at a later sync end the acceptance."
    if lacks_measures(context.source_day):
        return DayMessage(
            "Unverified, accepted: the vendor's response lacks values",
            f"The {context.records} are stored. The values that the vendor no longer reports were kept.",
            action,
        )
    return DayMessage(
        "Unverified, accepted: differs from the vendor's totals",
        f"The {context.records} are stored as the vendor lists them, but its totals differ.",
        action,
    )


def _describe_partial_accepted(context: DayContext) -> DayMessage:
    return DayMessage(
        f"Partial, accepted: {format_count(context.day.rejected, 'record was', 'records were')} rejected",
        f"{context.records} of this day are stored and counted. The day stays incomplete.",
        "Nothing to do. Other rejected records at a later sync end the acceptance.",
    )


def _describe_unverified(context: DayContext) -> DayMessage:
    if lacks_measures(context.source_day):
        return DayMessage(
            "Unverified: the vendor's response lacks values that are stored",
            f"Nothing was changed: {context.records} of an earlier sync are stored and counted.",
            f"{context.next_sync} If the difference stays, accept it with a reason: the reported records are then "
            "stored, and the missing values are kept.",
            context.source_day.error,
        )
    return DayMessage(
        "Unverified: differs from the vendor's totals",
        f"The {context.records} are stored as the vendor lists them, but its totals differ.",
        "It is synced again automatically. If the difference stays, show the vendor the differences below, or accept "
        "them with a reason.",
    )


def lacks_measures(day: SourceDay) -> bool:
    """Return whether the last response lacked values that the day has."""
    return any(difference.get("code") == MISSING_MEASURE for difference in day.differences)


def _describe_partial(context: DayContext) -> DayMessage:
    return DayMessage(
        f"Partial: {format_count(context.day.rejected, 'record was', 'records were')} rejected",
        f"{context.records} of this day are stored and counted. A rejected record counts as an earlier sync stored "
        "it, or not at all.",
        "Look at the rejected records below and tell the portal's administrator, or accept them with a reason. "
        f"{context.next_sync}",
    )


def _describe_suspect(context: DayContext) -> DayMessage:
    needs_person = (context.source_day.suspicion or {}).get("doubt") in FOR_A_PERSON
    otherwise = "Otherwise a second equal sync decides."
    if needs_person:
        otherwise = "If it has forgotten them, accept the findings with a reason, and the stored records are kept."
    return DayMessage(
        "Suspect: the last sync would remove too much",
        "The last sync would remove records or values: the numbers are below. The records stored before still count.",
        f"If the vendor is right, accept what it reports. {otherwise} {context.next_sync}",
        context.source_day.error,
    )


def _describe_mismatched(context: DayContext) -> DayMessage:
    day = context.source_day
    checked_at = f" on {format_instant(day.checked_at)}" if day.checked_at else ""
    if day.archived_at is not None:
        return DayMessage(
            "Mismatched: the archived records differ from what was synced",
            f"The check of the archive{checked_at} found {list_mismatches(day.mismatch or ())} different. Sums by "
            "roll-ups are not touched by it.",
            "No sync repairs an archived day. Tell the portal's administrator: the files of the lake are to be brought "
            "back from a backup of its storage.",
        )
    return DayMessage(
        "Mismatched: the stored records differ from what was synced",
        f"The check of stored records{checked_at} found {list_mismatches(day.mismatch or ())} different. The day is "
        "synced again.",
        f"Nothing to do. If it happens again, tell the portal's administrator. {context.next_sync}",
        day.error or context.blocked,
    )


def list_mismatches(mismatch: Sequence[dict[str, Any]]) -> str:
    """Return the mismatches of the check of stored records, e.g. `the number of records and the sums`."""
    names = [MISMATCHES.get(item["code"], item["code"]) for item in mismatch]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:]))) or "something"


def _describe_failed(context: DayContext) -> DayMessage:
    day = context.source_day
    meaning = NOT_STORED
    if day.loaded_at is not None:
        stored_at = format_instant(day.loaded_at)
        meaning = f"The records synced on {stored_at} are still stored and counted: {context.records}."
    reason = day.error or context.blocked or "No reason is known."
    return DayMessage("The last sync failed", meaning, context.next_sync, reason)


def _describe_waiting(context: DayContext) -> DayMessage:
    action = "Resolve that, and it is synced automatically." if context.blocked else context.next_sync
    return DayMessage("Never synced, waiting", NOT_STORED, action, context.source_day.error or context.blocked)


def _describe_missing(context: DayContext) -> DayMessage:
    return DayMessage(
        "Never synced",
        NOT_STORED,
        "It is synced automatically with its source. An operator can sync it now.",
        context.blocked or "The source has not been synced since this day was added to it.",
    )


def _describe_archived(context: DayContext) -> DayMessage:
    day = context.source_day
    archived_at = f" on {format_instant(day.archived_at)}" if day.archived_at else ""
    return DayMessage(
        "Records archived",
        f"The {context.records} of this day went to the lake{archived_at}. Exports have them from there, and sums by "
        "its roll-ups have them here; lists and mirrors do not.",
        "Nothing to do. To read the day again, an administrator brings its month back: manage.py restore_archive "
        f"{day.day:%Y-%m}",
    )


def _describe_pruned(context: DayContext) -> DayMessage:
    day = context.source_day
    pruned_at = f" on {format_instant(day.pruned_at)}" if day.pruned_at else ""
    return DayMessage(
        "Records pruned",
        f"The {context.records} of this day were dropped{pruned_at} for their age. Sums by its roll-ups still have "
        "them; lists, exports and mirrors do not.",
        "Nothing to do. The day is never synced again.",
    )


def _describe_before_backfill(context: DayContext) -> DayMessage:
    return DayMessage(
        "Before the first day",
        f"This source is stored from {format_long_date(context.source.backfill_from)}. Earlier usage is in no sum.",
        "Nothing to do. An operator can sync it nevertheless.",
    )


def _describe_retired(context: DayContext) -> DayMessage:
    last_day = context.source.retired_after
    until = f" after {format_long_date(last_day)}" if last_day else ""
    return DayMessage("After the last day", f"This source is retired: nothing is expected{until}.", "Nothing to do.")


def _describe_future(_context: DayContext) -> DayMessage:
    return DayMessage("In the future", "This day has not started.")


MESSAGES: Final[dict[DayStatus, Callable[[DayContext], DayMessage]]] = {
    DayStatus.FINAL: _describe_final,
    DayStatus.AWAITS_CLOSE: _describe_awaits_close,
    DayStatus.PROVISIONAL: _describe_provisional,
    DayStatus.EMPTY: _describe_empty,
    DayStatus.INCOMPLETE: _describe_incomplete,
    DayStatus.PENDING: _describe_pending,
    DayStatus.LOADING: _describe_loading,
    DayStatus.UNVERIFIED_ACCEPTED: _describe_unverified_accepted,
    DayStatus.PARTIAL_ACCEPTED: _describe_partial_accepted,
    DayStatus.UNVERIFIED: _describe_unverified,
    DayStatus.PARTIAL: _describe_partial,
    DayStatus.SUSPECT: _describe_suspect,
    DayStatus.MISMATCHED: _describe_mismatched,
    DayStatus.FAILED: _describe_failed,
    DayStatus.WAITING: _describe_waiting,
    DayStatus.MISSING: _describe_missing,
    DayStatus.PRUNED: _describe_pruned,
    DayStatus.ARCHIVED: _describe_archived,
    DayStatus.BEFORE_BACKFILL: _describe_before_backfill,
    DayStatus.RETIRED: _describe_retired,
    DayStatus.FUTURE: _describe_future,
}


def describe_day(source: Source, day: CalendarDay, row: SourceDay | None) -> DayMessage:
    """Return the message of a day; `row` is its row where it has one."""
    return MESSAGES[day.status](DayContext(source, day, row))


def explain_gap(source: Source, day: CalendarDay) -> str:
    """Return why a day is a gap: the error of its last sync, or why the source is not synced."""
    return day.error or describe_block(source) or GAP_REASONS.get(day.status, "No reason is known.")


def describe_block(source: Source) -> str:
    """Return why a source is not synced: switched off, halted or paused; '' where it is synced."""
    return Condition(source, Coverage(), timezone.now()).problem
