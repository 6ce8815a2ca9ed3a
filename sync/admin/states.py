"""How the states of sources, days, runs and attempts look: one word on a colour that says how bad it is."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from sync.health import Condition, Health
from sync.models import LoadAttempt, SyncRun, SyncRunDay
from usage.admin.display import badge
from usage.models import DayState, SourceDay, Verification

DAY_TONES = {
    DayState.DUE: "plain",
    DayState.LOADING: "busy",
    DayState.LOADED: "good",
    DayState.PARTIAL: "warn",
    DayState.SUSPECT: "warn",
    DayState.FAILED: "bad",
}
HEALTH = {
    Health.DISABLED: ("Off", "plain"),
    Health.HALTED: ("Halted", "bad"),
    Health.PAUSED: ("Paused", "warn"),
    Health.NEVER_READ: ("Not read yet", "plain"),
    Health.FAILING: ("Failing", "bad"),
    Health.BEHIND: ("Behind", "warn"),
    Health.OK: ("Well", "good"),
}
VERIFICATION_TONES = {Verification.VERIFIED: "good", Verification.UNVERIFIED: "warn"}
ATTEMPT_TONES = {
    LoadAttempt.Outcome.LOADED: "good",
    LoadAttempt.Outcome.UNCHANGED: "good",
    LoadAttempt.Outcome.RUNNING: "busy",
    LoadAttempt.Outcome.PARTIAL: "warn",
    LoadAttempt.Outcome.SUSPECT: "warn",
    LoadAttempt.Outcome.FAILED: "bad",
}
RUN_DAY_TONES = {
    SyncRunDay.Outcome.WAITING: "busy",
    SyncRunDay.Outcome.DONE: "good",
    SyncRunDay.Outcome.FAILED: "bad",
    SyncRunDay.Outcome.DROPPED: "plain",
}


def source_health(condition: Condition) -> SafeString:
    """Return how a source does, in a word: the same on every page."""
    return badge(*HEALTH[condition.health])


def day_state(day: SourceDay) -> SafeString:
    """Return where a day stands."""
    return badge(day.get_state_display(), DAY_TONES.get(DayState(day.state), "plain"))


def day_verification(day: SourceDay) -> SafeString | str:
    """Return whether a day agrees with the vendor's checksum; nothing where the vendor gives none."""
    if day.verification == Verification.NONE:
        return ""
    return badge(day.get_verification_display(), VERIFICATION_TONES[Verification(day.verification)])


def attempt_outcome(attempt: LoadAttempt) -> SafeString:
    """Return how an attempt ended."""
    return badge(attempt.get_outcome_display(), ATTEMPT_TONES.get(LoadAttempt.Outcome(attempt.outcome), "plain"))


def run_progress(run: SyncRun) -> SafeString:
    """Return a bar of the run's days and the numbers beside it."""
    ended = run.days_done + run.days_failed
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


def run_state(run: SyncRun) -> SafeString:
    """Return whether a run still waits for days, and how it ended."""
    if run.finished_at is None:
        if run.cancelled_at:
            return badge("Being cancelled", "plain")
        return badge("Running", "busy")
    if run.cancelled_at:
        return badge("Cancelled", "plain")
    if run.error or run.days_failed:
        return badge("Ended with failures", "bad")
    return badge("Done", "good")


def run_day_outcome(run_day: SyncRunDay) -> SafeString:
    """Return how a day ended for a run."""
    return badge(run_day.get_outcome_display(), RUN_DAY_TONES[SyncRunDay.Outcome(run_day.outcome)])
