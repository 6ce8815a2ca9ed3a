"""The models of usage: sources, their days, the records, what is known of their trust, and saved questions."""

from usage.models.day import DayState, SourceDay, Verification
from usage.models.records import (
    KINDS,
    EnvironmentRow,
    EnvironmentUsage,
    RecipeRow,
    RecipeUsage,
    ResourceRow,
    ResourceUsage,
    UsageRecord,
)
from usage.models.revisions import RecordRevision
from usage.models.rollups import (
    EnvironmentAccrual,
    EnvironmentDay,
    EnvironmentProjectDay,
    EnvironmentUserDay,
    RecipeDay,
    RecipeWorkspaceDay,
    ResourceDay,
    ResourceProjectDay,
    Rollup,
)
from usage.models.saved import SavedView
from usage.models.source import Source
from usage.models.trust import RejectedRecord, Restatement

__all__ = [
    "KINDS",
    "DayState",
    "EnvironmentAccrual",
    "EnvironmentDay",
    "EnvironmentProjectDay",
    "EnvironmentRow",
    "EnvironmentUsage",
    "EnvironmentUserDay",
    "RecipeDay",
    "RecipeRow",
    "RecipeUsage",
    "RecipeWorkspaceDay",
    "RecordRevision",
    "RejectedRecord",
    "ResourceDay",
    "ResourceProjectDay",
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
