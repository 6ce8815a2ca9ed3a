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
    TextsFilter,
    ZoneFilter,
)
from usage.api.filters.forms import InstantsForm, RangeForm
from usage.api.filters.sets import (
    EnvironmentUsageFilter,
    RecipeUsageFilter,
    ResourceUsageFilter,
    SourceRelatedFilter,
    UsageFilter,
)
from usage.api.filters.values import ContainsFilter

__all__ = [
    "BooleanChoiceFilter",
    "ChoiceFilter",
    "ChoicesFilter",
    "ContainsFilter",
    "EnvironmentUsageFilter",
    "InstantsForm",
    "MomentFilter",
    "NumbersFilter",
    "RangeForm",
    "RecipeUsageFilter",
    "ResourceUsageFilter",
    "SourceRelatedFilter",
    "StrictFilterBackend",
    "TextsFilter",
    "UsageFilter",
    "ZoneFilter",
    "find_param_errors",
]
