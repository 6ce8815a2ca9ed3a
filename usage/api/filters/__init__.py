"""The filters of usage: one filter set per kind, the same for lists, exports, summaries and pages.

A filter set parses every parameter or rejects it by name: unknown, empty, repeated and malformed ones, each with what
is allowed.
"""

from usage.api.filters.backend import StrictFilterBackend, find_param_errors
from usage.api.filters.fields import (
    BooleanChoiceFilter,
    ChoiceFilter,
    ChoicesFilter,
    MomentFilter,
    NumbersFilter,
    PresenceFilter,
    TextsFilter,
    ZoneFilter,
)
from usage.api.filters.forms import InstantsForm, RangeForm
from usage.api.filters.sets import (
    EnvironmentUsageFilterSet,
    RecipeUsageFilterSet,
    ResourceUsageFilterSet,
    SourceRelatedFilterSet,
    UsageFilterSet,
)
from usage.api.filters.values import ContainsFilter

__all__ = [
    "BooleanChoiceFilter",
    "ChoiceFilter",
    "ChoicesFilter",
    "ContainsFilter",
    "EnvironmentUsageFilterSet",
    "InstantsForm",
    "MomentFilter",
    "NumbersFilter",
    "PresenceFilter",
    "RangeForm",
    "RecipeUsageFilterSet",
    "ResourceUsageFilterSet",
    "SourceRelatedFilterSet",
    "StrictFilterBackend",
    "TextsFilter",
    "UsageFilterSet",
    "ZoneFilter",
    "find_param_errors",
]
