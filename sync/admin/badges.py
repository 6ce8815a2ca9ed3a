"""The states of sources, days, runs and attempts as badges: a label on a colour for its severity."""

from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from sync.admin.coverage.status import APPEARANCES
from sync.health import Condition, Health
from sync.models import LoadAttempt, Subject, SyncRun, SyncRunDay
from usage.admin.display import render_badge
from usage.models import DayStatus, RejectedRecord, SourceDay, Verification

HEALTH: Final = {
    Health.RETIRED: ("Retired", "plain"),
    Health.DISABLED: ("Off", "plain"),
    Health.HALTED: ("Halted", "bad"),
    Health.PAUSED: ("Paused", "warn"),
    Health.NEVER_READ: ("Not synced yet", "plain"),
    Health.FAILING: ("Failing", "bad"),
    Health.MISMATCHED: ("Mismatched", "bad"),
    Health.SUSPECT: ("Suspect", "warn"),
    Health.UNVERIFIED: ("Unverified", "warn"),
    Health.PARTIAL: ("Partial", "warn"),
    Health.BEHIND: ("Behind", "warn"),
    Health.OK: ("Healthy", "good"),
}
VERIFICATION_TONES: Final = {Verification.VERIFIED: "good", Verification.UNVERIFIED: "warn"}
ATTEMPT_TONES: Final = {
    LoadAttempt.Outcome.LOADED: "good",
    LoadAttempt.Outcome.UNCHANGED: "good",
    LoadAttempt.Outcome.REPAIRED: "good",
    LoadAttempt.Outcome.RUNNING: "busy",
    LoadAttempt.Outcome.PARTIAL: "warn",
    LoadAttempt.Outcome.SUSPECT: "warn",
    LoadAttempt.Outcome.UNVERIFIED: "warn",
    LoadAttempt.Outcome.FAILED: "bad",
}
RUN_DAY_TONES: Final = {
    SyncRunDay.Outcome.WAITING: "busy",
    SyncRunDay.Outcome.DONE: "good",
    SyncRunDay.Outcome.FAILED: "bad",
    SyncRunDay.Outcome.DROPPED: "plain",
}


def build_health_badge(condition: Condition) -> SafeString:
    """Return the health of a source."""
    return render_badge(*HEALTH[condition.health])


def build_status_badge(day: SourceDay) -> SafeString:
    """Return the status of a day that was fetched `with_status`."""
    status = DayStatus(day.status)
    return render_badge(capfirst(status.label), APPEARANCES[status].tone)


def build_verification_badge(day: SourceDay) -> SafeString | str:
    """Return whether a day agrees with the vendor's totals; '' where the vendor has none."""
    if day.verification == Verification.NONE:
        return ""
    if day.accepted_at is not None and day.verification == Verification.UNVERIFIED:
        return render_badge("Unverified, accepted", "plain")
    return render_badge(day.get_verification_display(), VERIFICATION_TONES[Verification(day.verification)])


def build_attempt_badge(attempt: LoadAttempt) -> SafeString:
    """Return how an attempt ended."""
    return render_badge(attempt.get_outcome_display(), ATTEMPT_TONES.get(LoadAttempt.Outcome(attempt.outcome), "plain"))


def build_rejected_badge(record: RejectedRecord) -> SafeString:
    """Return whether a rejected record is resolved."""
    return render_badge("Resolved", "good") if record.resolved_at else render_badge("Open", "warn")


def build_progress_bar(run: SyncRun) -> SafeString:
    """Return a bar of the run's days and the numbers beside it; without numbers for names, which are read at once."""
    ended = run.days_done + run.days_failed
    if run.subject == Subject.NAMES:
        return format_html('<progress max="1" value="{}">{} of 1</progress>', ended, ended)
    failed = format_html(" · {} failed", run.days_failed) if run.days_failed else ""
    return format_html(
        '<span><progress max="{}" value="{}">{} of {}</progress> {} of {} days{}</span>',
        max(run.days_total, 1),
        ended,
        ended,
        run.days_total,
        ended,
        run.days_total,
        failed,
    )


def build_run_badge(run: SyncRun) -> SafeString:
    """Return whether a run is going on, and how it ended."""
    if run.finished_at is None:
        return render_badge("Being cancelled", "plain") if run.cancelled_at else render_badge("Running", "busy")
    if run.cancelled_at:
        return render_badge("Cancelled", "plain")
    return render_badge("Ended with failures", "bad") if run.error or run.days_failed else render_badge("Done", "good")


def build_run_day_badge(run_day: SyncRunDay) -> SafeString:
    """Return how a day ended for a run."""
    return render_badge(run_day.get_outcome_display(), RUN_DAY_TONES[SyncRunDay.Outcome(run_day.outcome)])
