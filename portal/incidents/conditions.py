"""What can be wrong: the conditions that alerts, incidents and the rules of channels name."""

from typing import Final

from django.db.models import TextChoices


class ConditionKind(TextChoices):
    """A kind of condition that needs a person, the same in alerts, incidents, rules and the API."""

    SOURCE_HALTED = "source_halted", "Source halted"
    CREDENTIAL_UNREADABLE = "credential_unreadable", "Credential unreadable"
    SOURCE_FAILING = "source_failing", "Source failing"
    SOURCE_LATE = "source_late", "Source late"
    DAY_SUSPECT = "day_suspect", "Day suspect"
    DAY_UNVERIFIED = "day_unverified", "Day unverified"
    DAY_PARTIAL = "day_partial", "Day partial"
    RECORDS_REJECTED = "records_rejected", "Records rejected"
    DAY_RESTATED = "day_restated", "Day restated"
    SCRUB_MISMATCH = "scrub_mismatch", "Stored records differ"
    TOKEN_EXPIRES = "token_expires", "API token expires"
    SYNC_STOPPED = "sync_stopped", "Sync stopped"
    WORKER_SILENT = "worker_silent", "Worker silent"
    BEAT_SILENT = "beat_silent", "Schedule silent"
    DATABASE_TROUBLE = "database_trouble", "Database trouble"
    REDIS_TROUBLE = "redis_trouble", "Redis trouble"
    DISK_LOW = "disk_low", "Disk low"
    LAKE_FAILING = "lake_failing", "Lake failing"


# A day of these that is being synced again has its outcome yet to come: the incident stays as it is.
DAY_CONDITIONS: Final = frozenset(
    {
        ConditionKind.SOURCE_FAILING,
        ConditionKind.DAY_SUSPECT,
        ConditionKind.DAY_UNVERIFIED,
        ConditionKind.DAY_PARTIAL,
        ConditionKind.RECORDS_REJECTED,
    }
)
SOURCE_CONDITIONS: Final = DAY_CONDITIONS | {
    ConditionKind.SOURCE_HALTED,
    ConditionKind.CREDENTIAL_UNREADABLE,
    ConditionKind.SOURCE_LATE,
    ConditionKind.DAY_RESTATED,
    ConditionKind.SCRUB_MISMATCH,
    ConditionKind.SYNC_STOPPED,
}
# Found by the web processes, as a dead worker cannot report itself.
PROCESS_CONDITIONS: Final = frozenset(
    {ConditionKind.WORKER_SILENT, ConditionKind.BEAT_SILENT, ConditionKind.REDIS_TROUBLE}
)
HOST_CONDITIONS: Final = frozenset({ConditionKind.DATABASE_TROUBLE, ConditionKind.DISK_LOW})
SYSTEM_CONDITIONS: Final = PROCESS_CONDITIONS | HOST_CONDITIONS | {ConditionKind.LAKE_FAILING}
