"""What can be explored: each kind of usage, and everything at once."""

from dataclasses import dataclass
from typing import Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from usage.api.filters import SourceRelatedFilterSet
from usage.models import UsageRecord
from usage.summaries.combined import FILTERS, CombinedFilterSet
from usage.summaries.intervals import INTERVALS, list_intervals
from usage.summaries.metrics import METRICS, MetricSet
from usage.summaries.params import COMMON_PARAMS, ENVIRONMENT_PARAMS

EVERYTHING: Final = "usage"


@dataclass(frozen=True, slots=True)
class SummaryKind:
    """A summary: its name in the API's address, its label, and its filters and parameters.

    `metrics` None stands for everything at once. `filters`: those with inputs of their own in the form.
    """

    name: str
    label: str
    filterset: type[SourceRelatedFilterSet]
    parameters: tuple[str, ...]
    filters: tuple[str, ...] = ()

    @property
    def metrics(self) -> MetricSet | None:
        return METRICS.get(self.name)

    @property
    def model(self) -> type[UsageRecord] | None:
        return self.metrics.kind if self.metrics else None

    @property
    def api(self) -> str:
        return f"api:{self.name.removesuffix('-usage')}-summary"

    @property
    def permissions(self) -> tuple[str, ...]:
        """The permissions that a person needs, all of them."""
        models = [self.model] if self.model else [metrics.kind for metrics in METRICS.values()]
        return tuple(f"usage.view_{model._meta.model_name}" for model in models)

    @property
    def intervals(self) -> tuple[str, ...]:
        return list_intervals(self.metrics.smallest_interval) if self.metrics else INTERVALS


SUMMARY_KINDS: Final[dict[str, SummaryKind]] = {
    kind.name: kind
    for kind in (
        SummaryKind(
            "environment-usage",
            "Environments",
            FILTERS["environment-usage"],
            ENVIRONMENT_PARAMS,
            ("project_id", "user_id", "environment_class_id", "runner_id", "environment_id"),
        ),
        SummaryKind(
            "resource-usage",
            "Resources",
            FILTERS["resource-usage"],
            COMMON_PARAMS,
            (
                "category",
                "resource_type",
                "project_id",
                "region_id",
                "billing_metric",
                "consumed_unit",
                "resource_id",
                "flavor",
            ),
        ),
        SummaryKind(
            "recipe-usage",
            "Recipes",
            FILTERS["recipe-usage"],
            COMMON_PARAMS,
            ("workspace_id", "external_id", "recipe_id", "folder_id"),
        ),
        SummaryKind(EVERYTHING, "Everything", CombinedFilterSet, ("interval",)),
    )
}

UNITS: Final = {"runtime_seconds": "seconds"}


def get_kinds(request: HttpRequest) -> dict[str, SummaryKind]:
    """Return the kinds that this person may see."""
    return {name: kind for name, kind in SUMMARY_KINDS.items() if request.user.has_perms(kind.permissions)}


def require_kinds(request: HttpRequest) -> dict[str, SummaryKind]:
    """Return the kinds that this person may see; raises PermissionDenied if there is none."""
    kinds = get_kinds(request)
    if not kinds:
        raise PermissionDenied
    return kinds
