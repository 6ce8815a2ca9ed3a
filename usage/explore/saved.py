"""Saved views: questions under a name. Everybody finds their own and the shared ones that tell them nothing new."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

from django import forms
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from usage.access import in_staff_scope, staff_scope
from usage.explore.address import Said, pairs, written
from usage.explore.asking import checked, question_of
from usage.explore.form import zone_of
from usage.explore.kinds import KINDS, Kind, offered
from usage.explore.ranges import RANGES, named, range_of
from usage.models import SavedView, Source

MOST = 200
# What a question may say without narrowing it to anything that somebody else may not know of.
OPEN = frozenset({"from", "to", "tz", "group_by", "measures", "order_by", "limit", "compare", "fill", "basis"})


@dataclass(frozen=True, slots=True)
class Shown:
    """A saved view as the page shows it: `mine` may be changed; `current`: it asks what the page asks."""

    view: SavedView
    address: str
    about: str
    mine: bool
    current: bool


class NameForm(forms.ModelForm[SavedView]):
    """What a person may say of a view of their own; `owner` is whose it is."""

    moving = forms.BooleanField(required=False)

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


def question_saved(request: HttpRequest, kind: Kind, question: str) -> QueryDict:
    """Return a question that is to be saved; raises ValidationError where it cannot be asked."""
    data = QueryDict(question)
    scope = staff_scope(request)
    filterset = checked(kind, data, scope)
    if kind.shape is not None:
        question_of(kind, filterset, data, scope)
    return data


def moving_range(data: QueryDict) -> str:
    """Return the name of a question's range, '' where it has none today."""
    return named(data.get("from", ""), data.get("to", ""), zone_of(data))


def moving_label(data: QueryDict) -> str:
    """Return what a question's range is called in a sentence, '' where it has no name today."""
    name = moving_range(data)
    words = RANGES[name][0].lower() if name else ""
    return f"the {words}" if words.endswith("days") else words


def asked_by(view: SavedView) -> Said:
    """Return what a view asks today, `kind` first."""
    data = QueryDict(view.question)
    said = pairs(data)
    if view.moving_range in RANGES:
        first, end = range_of(view.moving_range, zone_of(data))
        moved = [("from", str(first)), ("to", str(end))]
        said = [*moved, *((name, value) for name, value in said if name not in {"from", "to"})]
    return [("kind", view.kind), *said]


def views_of(request: HttpRequest, current: str) -> list[Shown]:
    """Return the views that this person may open, their own first; `current` is what the page asks.

    Each of the two is cut by itself, so that what others share takes no room from one's own.
    """
    found = SavedView.objects.filter(kind__in=offered(request))
    own = found.filter(owner=request.user.pk)[:MOST]
    shared = found.filter(shared=True).exclude(owner=request.user.pk).select_related("owner")
    known = visible_names(request)
    told = islice((view for view in shared.iterator(MOST) if not tells_more(view, known)), MOST)
    return [
        *(shown_as(view, mine=True, current=current) for view in own),
        *(shown_as(view, mine=False, current=current) for view in told),
    ]


def shown_as(view: SavedView, *, mine: bool, current: str) -> Shown:
    """Return a view as the page shows it."""
    query = written(asked_by(view))
    about = [KINDS[view.kind].label]
    about += [RANGES[view.moving_range][0].lower()] if view.moving_range in RANGES else []
    about += [] if mine else [f"by {view.owner}"]
    return Shown(view, f"{reverse('admin:explore')}?{query}", ", ".join(about), mine, query == current)


def visible_names(request: HttpRequest) -> tuple[frozenset[str], frozenset[str]] | None:
    """Return the slugs and the vendors of the sources that a limited person may know of, None for everybody else."""
    if staff_scope(request) is None:
        return None
    rows = list(in_staff_scope(Source.objects.all(), request, "id").values_list("slug", "vendor"))
    return frozenset(slug for slug, _ in rows), frozenset(vendor for _, vendor in rows)


def tells_more(view: SavedView, known: tuple[frozenset[str], frozenset[str]] | None) -> bool:
    """Tell whether somebody else's view would tell a limited person of sources that they may not know of.

    Its name or an id in it may be of any source, unless it says by itself that it is of theirs, or of everything.
    """
    if known is None:
        return False
    data = QueryDict(view.question)
    for name, visible in zip(("source", "vendor"), known, strict=True):
        if name in data and not set(data[name].split(",")) <= visible:
            return True
    return "source" not in data and not set(data) <= OPEN
