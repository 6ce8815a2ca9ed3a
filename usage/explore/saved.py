"""Saved views of Explore: a person sees their own, and shared views that reveal no source beyond their scope."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

from django import forms
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from usage.api.access import filter_by_staff_scope, get_staff_name_access, get_staff_scope
from usage.explore.kinds import SUMMARY_KINDS, SummaryKind, get_kinds
from usage.explore.params import Params, build_url, encode, get_zone, list_params
from usage.explore.query import build_filterset, validate
from usage.labels import get_label
from usage.models import SavedView, Source
from usage.param_values import list_values
from usage.ranges import RANGES, get_range, list_range_names
from usage.summaries.params import parse_params

MAX_VIEWS = 200
# Parameters that reveal no source.
NEUTRAL_PARAMS = frozenset(
    {"from", "to", "tz", "group_by", "measures", "order_by", "limit", "compare", "fill", "basis"}
)

# Parameters with names of people.
PERSON_PARAMS = frozenset({"user_name", "user_name__contains"})


@dataclass(frozen=True, slots=True)
class ListedView:
    """A saved view in the list; `is_own`: it may be changed; `is_current`: the page has its parameters."""

    view: SavedView
    url: str
    description: str
    is_own: bool
    is_current: bool

    @property
    def permalink(self) -> str:
        """The address that stays the same when the view is renamed or its range moves on."""
        return get_view_url(self.view)

    @property
    def question(self) -> str:
        return describe_question(self.view)


class SavedViewForm(forms.ModelForm[SavedView]):
    """The name of a person's own view, and whether others see it."""

    moving = forms.CharField(required=False)

    class Meta:
        model = SavedView
        fields = ("name", "shared")

    def __init__(self, *args: Any, owner: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner
        self.fields["name"].error_messages["required"] = "Give the view a name."

    def clean_name(self) -> str:
        """Return the name; raises ValidationError where another view of this person has it."""
        name: str = self.cleaned_data["name"].strip()
        if SavedView.objects.filter(owner=self.owner, name=name).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(f"You have a view “{name}” already; give another name.")
        return name


def parse_question(request: HttpRequest, kind: SummaryKind, question: str) -> QueryDict:
    """Return the parameters of a question to save; raises ValidationError for invalid parameters."""
    data = QueryDict(question)
    filterset: Any = build_filterset(kind, data, request)
    validate(kind, filterset)
    if kind.metrics is not None:
        parse_params(data, kind.metrics, filterset)
    return data


def list_moving_ranges(data: QueryDict) -> dict[str, str]:
    """Return the names of the moving ranges that a question's range is today, each with its label in a sentence."""
    names = list_range_names(data.get("from", ""), data.get("to", ""), get_zone(data))
    labels = {name: RANGES[name][0].lower() for name in names}
    return {name: f"the {label}" if label.endswith("days") else label for name, label in labels.items()}


def get_params(view: SavedView) -> Params:
    """Return the parameters of a view today, `kind` first."""
    data = QueryDict(view.question)
    params = list_params(data)
    if view.moving_range in RANGES:
        first, end = get_range(view.moving_range, get_zone(data))
        moving_bounds = [("from", str(first)), ("to", str(end))]
        params = [*moving_bounds, *((name, value) for name, value in params if name not in {"from", "to"})]
    return [("kind", view.kind), *params]


def list_views(request: HttpRequest, current: str) -> list[ListedView]:
    """Return the views that this person may open, their own first; `current` is the page's query.

    MAX_VIEWS applies to own and to shared views separately, so that shared views never displace own views.
    """
    views = SavedView.objects.filter(kind__in=get_kinds(request))
    own_views = views.filter(owner=request.user.pk)[:MAX_VIEWS]
    shared_views = views.filter(shared=True).exclude(owner=request.user.pk).select_related("owner")
    access = ViewAccess.build(request)
    visible_shared = islice((view for view in shared_views.iterator(MAX_VIEWS) if access.may_open(view)), MAX_VIEWS)
    return [
        *(build_listed_view(view, is_own=True, current=current) for view in own_views),
        *(build_listed_view(view, is_own=False, current=current) for view in visible_shared),
    ]


@dataclass(frozen=True, slots=True)
class ViewAccess:
    """Which views a person may open: their own, and shared views that reveal no source beyond their scope."""

    user_id: int | None
    kinds: frozenset[str]
    visible_names: tuple[frozenset[str], frozenset[str]] | None
    shows_people: bool

    @classmethod
    def build(cls, request: HttpRequest) -> "ViewAccess":
        shows_people = get_staff_name_access(request).shows_people
        return cls(request.user.pk, frozenset(get_kinds(request)), get_visible_names(request), shows_people)

    def may_open(self, view: SavedView) -> bool:
        if view.kind not in self.kinds:
            return False
        if view.owner_id == self.user_id:
            return True
        names_people = bool(PERSON_PARAMS & {*get_question(view)})
        return view.shared and not reveals_sources(view, self.visible_names) and (self.shows_people or not names_people)


def describe_question(view: SavedView) -> str:
    """Describe a view's question: `By project and day; source: gcore-main; 1–30 Nov 2026`."""
    data = get_question(view)
    groups = [get_label(name).lower() for name in (*list_values(data, "group_by"), *list_values(data, "interval"))]
    parts = [f"By {' and '.join(groups)}"] if groups else ["In all"]
    parts += [
        f"{get_label(name).lower()}: {', '.join(map(str, values))}"
        for name, values in data.lists()
        if name not in NEUTRAL_PARAMS
    ]
    if not view.moving_range and data.get("from"):
        end = data.get("to", "")
        parts.append(f"from {data['from']}{f' to {end}, not included' if end else ''}")
    return "; ".join(parts)


def build_listed_view(view: SavedView, *, is_own: bool, current: str) -> ListedView:
    """Return a view as the page shows it."""
    params = get_params(view)
    description = [SUMMARY_KINDS[view.kind].label]
    description += [RANGES[view.moving_range][0].lower()] if view.moving_range in RANGES else []
    description += [] if is_own else [f"by {view.owner}"]
    return ListedView(view, build_url(params), ", ".join(description), is_own, encode(params) == current)


def get_view_url(view: SavedView) -> str:
    """Return the permalink of a view, which stays the same when it is renamed or its range moves on."""
    return reverse("admin:explore_view", args=[view.pk])


def get_question(view: SavedView) -> QueryDict:
    """Return the parameters of a view as they were saved."""
    return QueryDict(view.question)


def get_visible_names(request: HttpRequest) -> tuple[frozenset[str], frozenset[str]] | None:
    """Return the slugs and the vendors of the sources that a person with a scope may see, None without a scope."""
    if get_staff_scope(request) is None:
        return None
    rows = list(filter_by_staff_scope(Source.objects.all(), request, "id").values_list("slug", "vendor"))
    return frozenset(slug for slug, _ in rows), frozenset(vendor for _, vendor in rows)


def reveals_sources(view: SavedView, visible_names: tuple[frozenset[str], frozenset[str]] | None) -> bool:
    """Return whether another person's view may reveal a source outside of the reader's scope.

    Its name or an id in it may be of any source, unless the view names visible sources or filters by nothing.
    """
    if visible_names is None:
        return False
    data = QueryDict(view.question)
    for name, visible_values in zip(("source", "vendor"), visible_names, strict=True):
        if not set(list_values(data, name)) <= visible_values:
            return True
    return "source" not in data and not set(data) <= NEUTRAL_PARAMS
