"""The models of usage: sources, days, names, records and roll-ups, restatements, revisions, saved views and notes."""

from usage.models.day import SourceDay
from usage.models.day_status import DayState, DayStatus, Verification
from usage.models.directory import PERSONS, Directory, DirectoryEntry, NameKind
from usage.models.notes import Note
from usage.models.records import (
    KIND_NAMES,
    KINDS,
    EnvironmentRow,
    EnvironmentUsage,
    RecipeRow,
    RecipeUsage,
    ResourceRow,
    ResourceUsage,
    UsageRecord,
)
from usage.models.reporting import PersonNames, ReportingRole
from usage.models.restatements import RejectedRecord, Restatement
from usage.models.revisions import RecordRevision
from usage.models.rollups import (
    EnvironmentAccrual,
    EnvironmentDay,
    RecipeDay,
    RecipeWorkspaceDay,
    ResourceDay,
    Rollup,
)
from usage.models.saved_views import PinnedView, SavedView
from usage.models.source import Source

__all__ = [
    "KINDS",
    "KIND_NAMES",
    "PERSONS",
    "DayState",
    "DayStatus",
    "Directory",
    "DirectoryEntry",
    "EnvironmentAccrual",
    "EnvironmentDay",
    "EnvironmentRow",
    "EnvironmentUsage",
    "NameKind",
    "Note",
    "PersonNames",
    "PinnedView",
    "RecipeDay",
    "RecipeRow",
    "RecipeUsage",
    "RecipeWorkspaceDay",
    "RecordRevision",
    "RejectedRecord",
    "ReportingRole",
    "ResourceDay",
    "ResourceRow",
    "ResourceUsage",
    "Restatement",
    "Rollup",
    "SavedView",
    "Source",
    "SourceDay",
    "UsageRecord",
    "Verification",
]
