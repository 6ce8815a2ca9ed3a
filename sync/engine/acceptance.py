"""Accept: a person takes the findings of a day as they are, with a reason that every answer over the day states.

Findings are differences from the vendor's own sums, rejected records, and a read that only a person can decide on. To
accept the latter keeps the stored records. Other findings at a later read end the acceptance: no person has seen them.
"""

from hashlib import blake2b
from typing import Any, Final

import msgspec
from django.db import transaction
from django.db.models.functions import Now

from sync.engine.guard import FOR_A_PERSON, Doubt
from sync.errors import UNSTORABLE, SyncError
from sync.vendors.base import Comparison
from usage.models import DayState, SourceDay, Verification

LONGEST_REASON: Final = 500
LONGEST_NAME: Final = SourceDay._meta.get_field("accepted_by").max_length


def accept_findings(day: SourceDay, accepted_by: str, reason: str) -> SourceDay:
    """Accept the findings of `day` as they were when it was fetched; returns the day as it is now.

    Raises SyncError, with a sentence for that person, for a reason that is missing or too long, a day without
    findings, and findings that have changed since.
    """
    reason = clean_reason(reason)
    with transaction.atomic():
        locked = lock_day(day)
        if not locked.findings:
            raise SyncError(f"{locked} has no findings; there is nothing to accept.")
        if locked.findings != day.findings:
            raise SyncError(f"The findings of {locked} have changed meanwhile. Look at them again.")
        locked.accepted_at, locked.accepted_by = Now(), accepted_by[:LONGEST_NAME]
        locked.accepted_reason = reason
        if is_undecided(locked):
            keep_records(locked)
        return save_day(locked)


def withdraw_acceptance(day: SourceDay) -> SourceDay:
    """Withdraw an acceptance, so that the findings count again; returns the day as it is now.

    Raises SyncError where nothing was accepted.
    """
    with transaction.atomic():
        locked = lock_day(day)
        if locked.accepted_at is None:
            raise SyncError(f"Nobody accepted the findings of {locked}; there is nothing to withdraw.")
        clear_acceptance(locked)
        if locked.verification == Verification.UNVERIFIED:
            locked.final = False
        return save_day(locked)


def is_undecided(day: SourceDay) -> bool:
    """Return whether the day is suspect and its findings are the doubt that only a person can decide."""
    suspicion = day.suspicion or {}
    if day.state != DayState.SUSPECT or suspicion.get("doubt") not in FOR_A_PERSON:
        return False
    return day.findings == build_doubt_findings(Doubt(suspicion["doubt"]), suspicion["digest"])


def keep_records(day: SourceDay) -> None:
    """Decide a suspect day for the stored records: they differ from what the vendor reports, and that is accepted."""
    suspicion = day.suspicion or {}
    difference = {
        "what": "records",
        "vendor": str(suspicion["reported"]),
        "portal": str(day.records),
        "code": suspicion["doubt"],
    }
    day.differences = [difference]
    day.verification = Verification.UNVERIFIED
    day.state = DayState.LOADED if day.complete else DayState.PARTIAL
    day.final = day.complete and day.finalized_at is not None and day.mismatch is None
    day.suspicion, day.error, day.error_code = None, "", ""
    # Read at once if the acceptance is withdrawn.
    day.due_at = Now()


def is_accepted(day: SourceDay, comparison: Comparison) -> bool:
    """Return whether a person has accepted just these differences of a day."""
    return day.accepted_at is not None and day.findings == build_findings(comparison.differences)


def is_kept(day: SourceDay, doubt: Doubt, digest: str) -> bool:
    """Return whether a person has decided to keep the stored records against just this read."""
    return day.accepted_at is not None and day.findings == build_doubt_findings(doubt, digest)


def clear_acceptance(day: SourceDay) -> None:
    """Remove the acceptance from `day`, which is not saved."""
    day.accepted_at, day.accepted_by, day.accepted_reason = None, "", ""


def build_findings(differences: list[dict[str, Any]], rejected: str = "") -> str:
    """Return a digest of what is wrong with a read, "" where nothing is; `rejected`: a digest of rejected records."""
    if not differences and not rejected:
        return ""
    return blake2b(msgspec.json.encode([differences, rejected], order="sorted"), digest_size=16).hexdigest()


def build_doubt_findings(doubt: Doubt, digest: str) -> str:
    """Return the findings of a read, by its `digest`, that was held back for a person."""
    return build_findings([{"doubt": doubt, "digest": digest}])


def clean_reason(reason: str) -> str:
    """Return a reason without blanks around it; raises SyncError for one that cannot be stored."""
    text = reason.strip()
    if not text:
        raise SyncError("Give a reason: every answer over the day states it.")
    if len(text) > LONGEST_REASON:
        raise SyncError(f"The reason is too long: {LONGEST_REASON} characters at most, and it has {len(text):,}.")
    if UNSTORABLE.search(text):
        raise SyncError("The reason has a character that the database cannot store.")
    return text


def lock_day(day: SourceDay) -> SourceDay:
    """Return the day, locked as a merge locks it; raises SyncError where its records were pruned or archived."""
    # Only the day: the default order joins the source, whose lock claims take before a day's.
    days = SourceDay.objects.select_related("source").defer("source__credential")
    locked = days.select_for_update(of=("self",), no_key=True).get(pk=day.pk)
    if locked.archived_at is not None:
        raise SyncError(
            f"The records of {locked} are archived. Before anything is decided about it, an administrator has to bring "
            f"them back: manage.py restore_archive {locked.day:%Y-%m}"
        )
    if locked.pruned_at is not None:
        raise SyncError(f"The records of {locked} were pruned; nothing is decided about it any more.")
    return locked


def save_day(day: SourceDay) -> SourceDay:
    """Save a locked day and return it with what the database wrote."""
    day.save()
    day.refresh_from_db()
    return day
