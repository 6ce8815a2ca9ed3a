"""The models of usage: sources, their days, the records, and what is known of their trustworthiness."""

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
from usage.models.rollups import EnvironmentAccrual, EnvironmentDay, EnvironmentUserDay, RecipeDay, ResourceDay, Rollup
from usage.models.source import Source
from usage.models.trust import RejectedRecord, Restatement

__all__ = [
    "KINDS",
    "DayState",
    "EnvironmentAccrual",
    "EnvironmentDay",
    "EnvironmentRow",
    "EnvironmentUsage",
    "EnvironmentUserDay",
    "RecipeDay",
    "RecipeRow",
    "RecipeUsage",
    "RecordRevision",
    "RejectedRecord",
    "ResourceDay",
    "ResourceRow",
    "ResourceUsage",
    "Restatement",
    "Rollup",
    "Source",
    "SourceDay",
    "UsageRecord",
    "Verification",
]
