"""Read the names of a source: planned once a day or on demand, claimed by one worker, stored in one transaction.

A source day is never touched: names that cannot be read harm no usage.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from sync.engine.attempts import make_storable
from sync.engine.claim import count_free_slots, get_database_time, get_lease_end, is_paused
from sync.engine.connect import get_reader_class, open_reader
from sync.engine.failures import compute_back_off
from sync.engine.plan import check_running
from sync.engine.recording import log_safely, try_step
from sync.errors import ErrorCode, LeaseLost, ReadDeferred, SyncError
from sync.http import HTTPStats
from sync.models import Subject, SyncRun, Trigger
from sync.vendors.base import VendorReader
from sync.vendors.names import NameListing
from sync.vendors.record_limits import Alterations, fit_text
from usage.days import get_today
from usage.directory.store import NameChanges, ReadName, iterate_names_in_usage, store_names
from usage.models import Directory, NameKind, Source
from usage.schema_state import SchemaDiffers, hold_schema

logger = structlog.get_logger(__name__)

READ_EVERY: Final = timedelta(days=1)
FIRST_NAMES: Final = timedelta(days=31)  # of usage that names come from where none were read before
OVERLAP: Final = timedelta(days=2)
ID_BYTES: Final = 500  # of an id; an entry's key has to fit its index


@dataclass
class NamesClaim:
    """The right of one worker to read the names of a source; `attempt` is the fencing token."""

    source: Source
    run: SyncRun
    attempt: int
    started_at: float = field(default_factory=monotonic)
    renewed_at: float = field(default_factory=monotonic)

    @property
    def directory(self) -> Any:
        """The source's directory; no row once another worker reads it."""
        return Directory.objects.filter(source=self.source, attempt=self.attempt, lease_expires_at__isnull=False)

    def renew(self) -> None:
        """Extend the lease once a third of it has passed; raises LeaseLost when another worker reads the names."""
        if monotonic() - self.renewed_at < settings.PORTAL_LEASE_SECONDS / 3:
            return
        if not self.directory.update(lease_expires_at=get_lease_end()):
            raise LeaseLost(f"The names of {self.source} are read by another worker.")
        self.renewed_at = monotonic()


@dataclass
class NamesRead:
    """The result of a read: the names, the kinds that were read to their end, and what was refused, by listing."""

    names: list[ReadName] = field(default_factory=list)
    complete: set[NameKind] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)


def has_directory(source: Source) -> bool:
    """Return whether the portal can read names of the source's vendor."""
    try:
        return get_reader_class(source).directory is not VendorReader.directory
    except SyncError:
        return False


def plan_names(source: Source) -> SyncRun | None:
    """Return the open run of a source's names, a new run where the day's read is due; None where neither is."""
    open_run = find_open_run(source)
    if open_run is not None or not has_directory(source):
        return open_run
    if Directory.objects.filter(source=source, due_at__gt=Now()).exists():
        return None
    return create_run(source, Trigger.SCHEDULE, "")


def request_names(source: Source, trigger: Trigger, requested_by: str = "") -> SyncRun:
    """Return a run that reads the names of a source now, its open run where it has any.

    Raises SyncError where the source is not read, or its vendor gives no names.
    """
    check_running(source)
    if not has_directory(source):
        raise SyncError(f"{source.slug}: its vendor gives no names.")
    return find_open_run(source) or create_run(source, trigger, requested_by)


def find_open_run(source: Source) -> SyncRun | None:
    """Return the run of the source's names that has not ended."""
    return SyncRun.objects.filter(source=source, subject=Subject.NAMES, finished_at=None).first()


def create_run(source: Source, trigger: Trigger, requested_by: str) -> SyncRun:
    """Create a run of a source's names, unless another session has."""
    today = get_today(source.zone, get_database_time())
    with transaction.atomic():
        Source.objects.select_for_update(no_key=True).only("pk").get(pk=source.pk)
        return find_open_run(source) or SyncRun.objects.create(
            source=source,
            subject=Subject.NAMES,
            trigger=trigger,
            requested_by=requested_by,
            from_day=today,
            to_day=today + timedelta(days=1),
            days_total=1,
        )


def read_names(source_id: int) -> SyncRun | None:
    """Read the names that a run of the source waits for; returns the run, None where there is nothing to read now.

    Never raises for what a vendor does: the run and the directory tell how it ended.
    """
    claim = claim_names(source_id)
    if claim is None:
        return None
    log = logger.bind(source=claim.source.slug, run=claim.run.pk)
    stats = HTTPStats()
    try:
        with open_reader(claim.source, before_request=claim.renew) as reader:
            stats = reader.http.stats
            read = collect_names(reader.directory())
        changes = store_read(claim, read, stats)
        log_safely(log.info, "names read", names=len(read.names), changed=bool(changes), refused=len(read.refused))
    except LeaseLost:
        log_safely(log.warning, "lease of the names lost")
    except (ReadDeferred, SchemaDiffers) as error:
        try_step("names deferred", lambda: claim.directory.update(lease_expires_at=None))
        log_safely(log.info, "names deferred", reason=str(error))
    except SyncError as error:
        record_failure(claim, error, stats)
        log_safely(log.warning, "names not read", reason=error.reason)
    except Exception as error:  # noqa: BLE001  # as for a day: the log has the traceback, people get the error's name
        log_safely(log.exception, "names not read, unexpectedly")
        reason = f"Unexpected {type(error).__name__} while reading names; the log has the details."
        record_failure(claim, SyncError(reason, code=ErrorCode.UNEXPECTED), stats)
    return SyncRun.objects.filter(pk=claim.run.pk).first()  # a source may be deleted meanwhile


def claim_names(source_id: int) -> NamesClaim | None:
    """Take the open run of a source's names; None where there is none, or no worker may begin to read it now."""
    with transaction.atomic():
        source = Source.objects.running().select_for_update(no_key=True).filter(pk=source_id).first()
        run = None if source is None or is_paused(source) else find_open_run(source)
        if source is None or run is None or count_free_slots(source, for_names=True) <= 0:
            return None
        Directory.objects.get_or_create(source=source)
        free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
        directory = Directory.objects.filter(free, source=source)
        if not directory.update(attempt=F("attempt") + 1, lease_expires_at=get_lease_end()):
            return None
        return NamesClaim(source, run, Directory.objects.values_list("attempt", flat=True).get(source=source))


def collect_names(listings: Iterable[NameListing]) -> NamesRead:
    """Return the names of all listings, users with their teams and groups."""
    read, all_listings = NamesRead(), list(listings)
    members = {listing.kind: invert(listing.members) for listing in all_listings if listing.members is not None}
    teams, groups = members.get(NameKind.TEAM), members.get(NameKind.GROUP)
    for listing in all_listings:
        if listing.refused:
            read.refused[listing.kind.label] = listing.refused
            continue
        if listing.members_refused:
            read.refused[f"Members of {listing.kind.label.lower()}s"] = listing.members_refused
        read.complete.add(listing.kind)
        for name in listing.names:
            if not is_storable(name.vendor_id):
                continue
            is_user = listing.kind == NameKind.USER
            read.names.append(
                ReadName(
                    listing.kind,
                    name.vendor_id,
                    fit_text("name", name.name.strip(), Alterations()),
                    fit_text("email", name.email.strip(), Alterations()),
                    teams.get(name.vendor_id, []) if is_user and teams is not None else None,
                    groups.get(name.vendor_id, []) if is_user and groups is not None else None,
                    is_gone=name.is_gone,
                )
            )
    return read


def invert(members: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the ids of the teams or groups of each user, sorted."""
    ids_by_user: dict[str, list[str]] = {}
    for team, users in sorted(members.items()):
        if not is_storable(team):
            continue
        for user in dict.fromkeys(users):
            ids_by_user.setdefault(user, []).append(team)
    return ids_by_user


def is_storable(vendor_id: str) -> bool:
    """Return whether an id can be in usage: no record has a longer id, or an id with NUL."""
    return bool(vendor_id) and "\0" not in vendor_id and len(vendor_id.encode()) <= ID_BYTES


def store_read(claim: NamesClaim, read: NamesRead, stats: HTTPStats) -> NameChanges:
    """Store what was read and end the run, in one transaction; raises LeaseLost where another worker took over."""
    with transaction.atomic():
        hold_schema()
        directory = claim.directory.select_for_update().first()
        if directory is None:
            raise LeaseLost(f"The names of {claim.source} are read by another worker.")
        names = [*read.names, *list_names_in_usage(claim.source, directory.read_at)]
        changes = store_names(claim.source, names, read.complete)
        if changes:
            directory.version, directory.changed_at = directory.version + 1, Now()
        directory.read_at, directory.due_at = Now(), Now() + READ_EVERY
        directory.failures, directory.error, directory.error_code = 0, "", ""
        directory.refused, directory.lease_expires_at = read.refused, None
        directory.save()
        end_run(
            claim,
            stats,
            days_done=1,
            fetched=len(names),
            inserted=len(changes.inserted),
            changed=len(changes.changed),
            unchanged=len(changes.seen) - len(changes.changed),
            withdrawn=len(changes.gone),
            returned=len(changes.returned),
        )
        return changes


def list_names_in_usage(source: Source, read_at: datetime | None) -> Iterator[ReadName]:
    """Return the names that came with usage since the names were last read."""
    kind = get_reader_class(source).kind
    since = get_database_time() - FIRST_NAMES if read_at is None else read_at - OVERLAP
    return iterate_names_in_usage(kind, source, since.date())


def record_failure(claim: NamesClaim, error: SyncError, stats: HTTPStats) -> None:
    """Record on the directory why its read failed and when the next read is due, and end the run."""

    def write() -> None:
        directory = claim.directory.select_for_update().first()
        if directory is None:
            return
        directory.failures += 1
        directory.error, directory.error_code = make_storable(error.reason), error.code
        directory.due_at = Now() + compute_back_off(directory.failures)
        directory.lease_expires_at = None
        directory.save()
        end_run(claim, stats, days_failed=1, error=make_storable(error.reason), error_code=error.code)

    try_step("names", write)


def end_run(claim: NamesClaim, stats: HTTPStats, **columns: Any) -> None:
    """End the run with what reading cost; a run that a person cancelled meanwhile keeps how it ended."""
    SyncRun.objects.filter(pk=claim.run.pk, finished_at=None).update(
        finished_at=Now(),
        requests=stats.requests,
        retries=stats.retries,
        bytes=stats.bytes,
        seconds=Decimal(f"{monotonic() - claim.started_at:.3f}"),
        **columns,
    )
