"""What can be explored: the kinds of usage and everything at once, and how their parts are called."""

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest

from usage.filters import OfSourcesFilter
from usage.models import UsageRecord
from usage.summaries.intervals import INTERVALS
from usage.summaries.overall import FILTERS, OverallFilter
from usage.summaries.question import OF_ENVIRONMENTS, PARAMETERS
from usage.summaries.shapes import SHAPES, Shape

EVERYTHING: Final = "usage"
PERMISSIONS: Final = {
    "environment-usage": "usage.view_environmentusage",
    "resource-usage": "usage.view_resourceusage",
    "recipe-usage": "usage.view_recipeusage",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A summary: its name in the API's address, what people call it, and what its rows can be asked by.

    `shape` None stands for everything at once. `filters`: those that the form has inputs of their own for.
    """

    name: str
    label: str
    filterset: type[OfSourcesFilter]
    parameters: tuple[str, ...]
    filters: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape | None:
        """What can be grouped by and added up."""
        return SHAPES.get(self.name)

    @property
    def model(self) -> type[UsageRecord] | None:
        """The records behind it."""
        return self.shape.kind if self.shape else None

    @property
    def api(self) -> str:
        """The name of the API's address."""
        return f"api:{self.name.removesuffix('-usage')}-summary"

    @property
    def permissions(self) -> tuple[str, ...]:
        """What a person needs, all of it."""
        return (PERMISSIONS[self.name],) if self.shape else tuple(PERMISSIONS.values())

    @property
    def intervals(self) -> tuple[str, ...]:
        """The intervals that it may be cut into."""
        return INTERVALS[INTERVALS.index(self.shape.smallest) :] if self.shape else INTERVALS

    @property
    def understood(self) -> Any:
        """Every filter by its name."""
        return self.filterset.base_filters

    def may(self, user: Any) -> bool:
        """Tell whether a person may see it."""
        return bool(user.has_perms(self.permissions))


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "environment-usage",
            "Environments",
            FILTERS["environment-usage"],
            OF_ENVIRONMENTS,
            ("project_id", "user_id", "environment_class_id", "runner_id", "environment_id"),
        ),
        Kind(
            "resource-usage",
            "Resources",
            FILTERS["resource-usage"],
            PARAMETERS,
            ("resource_type", "project_id", "region_id", "billing_metric", "consumed_unit", "resource_id", "flavor"),
        ),
        Kind(
            "recipe-usage",
            "Recipes",
            FILTERS["recipe-usage"],
            PARAMETERS,
            ("workspace_id", "external_id", "recipe_id", "folder_id"),
        ),
        Kind(EVERYTHING, "Everything", OverallFilter, ("interval",)),
    )
}

LABELS: Final = {
    "records": "Records",
    "runtime_seconds": "Runtime",
    "records_without_runtime": "Records without runtime",
    "consumed_quantity": "Consumed",
    "task_count": "Tasks",
    "job_succeeded_count": "Jobs succeeded",
    "job_failed_count": "Jobs failed",
    "quantity": "Quantity",
    "external_id": "External id",
    "source": "Source",
    "deleted_recipes": "Deleted recipes",
}
UNITS: Final = {"runtime_seconds": "seconds"}


def label_of(name: str) -> str:
    """Return what people call a dimension, a measure, an interval or a filter."""
    if name in LABELS:
        return LABELS[name]
    for prefix, words in (("tag:", "Tag "), ("details.", "")):
        if name.startswith(prefix):
            name = words + name.removeprefix(prefix)
            return name[:1].upper() + name[1:].replace("_", " ") if not words else name
    for bound, sign in (("__gte", " at least"), ("__gt", " more than"), ("__lte", " at most"), ("__lt", " less than")):
        if name.endswith(bound):
            return label_of(name.removesuffix(bound)) + sign
    return name.removesuffix("_id").replace("__", " ").replace("_", " ").capitalize()


def offered(request: HttpRequest) -> dict[str, Kind]:
    """Return the kinds that this person may see."""
    return {name: kind for name, kind in KINDS.items() if kind.may(request.user)}
