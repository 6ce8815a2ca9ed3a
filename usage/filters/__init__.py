"""What usage may be asked by: one filter set per kind, the same for lists, exports and whoever else asks.

A filter set understands everything it is given or refuses it: unknown, empty, repeated and malformed parameters
are each named, with what is allowed.
"""

from usage.filters.backend import StrictFilterBackend, problems_of
from usage.filters.fields import ChoiceFilter, MomentFilter, NumbersFilter, TextsFilter, WordsFilter, ZoneFilter
from usage.filters.forms import InstantsForm, RangeForm
from usage.filters.sets import (
    EnvironmentUsageFilter,
    OfSourcesFilter,
    RecipeUsageFilter,
    ResourceUsageFilter,
    UsageFilter,
)
from usage.filters.values import ContainsFilter

__all__ = [
    "ChoiceFilter",
    "ContainsFilter",
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
    "WordsFilter",
    "ZoneFilter",
    "problems_of",
]
