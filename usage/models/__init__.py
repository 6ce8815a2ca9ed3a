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
from usage.models.source import Source
from usage.models.trust import RejectedRecord, Restatement

__all__ = [
    "KINDS",
    "DayState",
    "EnvironmentRow",
    "EnvironmentUsage",
    "RecipeRow",
    "RecipeUsage",
    "RejectedRecord",
    "ResourceRow",
    "ResourceUsage",
    "Restatement",
    "Source",
    "SourceDay",
    "UsageRecord",
    "Verification",
]
