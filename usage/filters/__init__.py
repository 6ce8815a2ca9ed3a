"""What usage may be asked by: one filter set per kind, the same for lists, exports and whoever else asks.

A filter set understands everything it is given or refuses it: unknown, empty, repeated and malformed parameters
are each named, with what is allowed.
"""

from usage.filters.backend import StrictFilterBackend, problems_of
from usage.filters.fields import ChoiceFilter, MomentFilter, NumbersFilter, TextsFilter, ZoneFilter
from usage.filters.forms import InstantsForm, RangeForm
from usage.filters.sets import (
    EnvironmentUsageFilter,
    OfSourcesFilter,
    RecipeUsageFilter,
    ResourceUsageFilter,
    UsageFilter,
)

__all__ = [
    "ChoiceFilter",
    "EnvironmentUsageFilter",
    "InstantsForm",
    "MomentFilter",
    "NumbersFilter",
    "OfSourcesFilter",
    "RangeForm",
    "RecipeUsageFilter",
    "ResourceUsageFilter",
    "StrictFilterBackend",
    "TextsFilter",
    "UsageFilter",
    "ZoneFilter",
    "problems_of",
]
