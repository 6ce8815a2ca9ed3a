"""The form of Explore: what to group by and to add up, beside the filter set's own inputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django import forms
from django.forms import BoundField
from django.http import QueryDict

from usage.admin.filter_form import Errors, FilterForm, build_filter_form, get_suggestions_url, show_errors
from usage.api.filters import SourceRelatedFilterSet
from usage.api.filters.values import DETAIL_TEXTS
from usage.api.filters.widgets import AddressSelect, CommaSeparatedBoxes, RepeatedInput
from usage.explore.baselines import LABELS as BASELINE_LABELS
from usage.explore.kinds import SummaryKind
from usage.explore.params import RANGE, get_interval, split_names
from usage.explore.steps import LIMITS
from usage.labels import get_label
from usage.summaries.metrics import MetricSet
from usage.summaries.query import CHANGE

MAX_BOXES: Final = 12  # sources as check boxes; more are typed
FEWEST_GROUPS: Final = 2
# Where the errors of a parameter are shown whose input has another name.
INPUTS: Final = {"group_by": "_group", "interval": "_interval"}


@dataclass(frozen=True, slots=True)
class ExploreForm:
    """All inputs, and the errors that belong to none of them."""

    question: forms.Form
    filters: FilterForm
    errors: list[str]
    active_filters: int

    @property
    def range(self) -> list[BoundField]:
        return [field for field in self.filters.common if field.name in RANGE]

    @property
    def common(self) -> list[BoundField]:
        return [field for field in self.filters.common if field.name not in RANGE]

    @property
    def groups(self) -> list[BoundField]:
        return [field for field in self.question if field.name.startswith("_")]

    @property
    def numbers(self) -> list[BoundField]:
        return [field for field in self.question if not field.name.startswith("_")]

    def __iter__(self) -> Iterator[BoundField]:
        yield from self.question
        yield from self.filters


def build_form(
    kind: SummaryKind, data: QueryDict, filterset: SourceRelatedFilterSet, sources: list[str], errors: Errors
) -> ExploreForm:
    """Return the form of an address; `sources`: the slugs that this person may see; `errors`: by parameter."""
    question = QuestionForm(kind, data)
    by_input = {INPUTS.get(name, name): texts for name, texts in errors.items()}
    show_errors(question, by_input)
    boxes = len(sources) <= MAX_BOXES and set(split_names(data, "source")) <= set(sources)
    names = [name for name in ("tag", "include_withdrawn") if name in filterset.filters]
    filters = build_filter_form(
        filterset,
        errors,
        common=(*RANGE, "source", *kind.filters, *names),
        widgets={"source": CommaSeparatedBoxes(choices=[(slug, slug) for slug in sources])} if boxes else {},
        model=kind.model,
    )
    inputs = {field.name for field in (*question, *filters)}
    return ExploreForm(
        question=question,
        filters=filters,
        errors=[f"{get_label(name)}: {text}" for name in by_input if name not in inputs for text in by_input[name]],
        active_filters=sum(name in data for name in filterset.base_filters if name not in RANGE),
    )


class QuestionForm(forms.Form):
    """The inputs of groups, measures and the other parameters of an address."""

    use_required_attribute = False

    def __init__(self, kind: SummaryKind, data: QueryDict) -> None:
        interval = get_interval(kind, data)
        groups = [name for name in split_names(data, "group_by") if name != interval]
        values = data.copy()
        values["_interval"] = interval
        values.setlist("_group", groups)
        defaults = kind.metrics.default_measures if kind.metrics else ()
        values.setlist("measures", split_names(data, "measures") or list(defaults))
        super().__init__(values, auto_id="question-%s")
        intervals = [("", "No interval"), *((name, f"By {name}") for name in kind.intervals)]
        if kind.metrics is not None:
            self.fields |= build_group_fields(kind, kind.metrics, groups)
        self.fields["_interval"] = build_choice("Interval", intervals)
        if kind.metrics is not None:
            self.fields |= build_number_fields(kind.metrics, get_limit_word(kind.metrics, data, interval, groups))
        if "basis" in kind.parameters:
            self.fields["basis"] = build_choice("Runtime counts", [("", "when stopped"), ("accrued", "while running")])


def build_group_fields(kind: SummaryKind, metrics: MetricSet, groups: list[str]) -> dict[str, forms.Field]:
    """Return the inputs of the dimensions; `groups`: those of the address."""
    details = [f"details.{name}" for name in DETAIL_TEXTS[1:] if metrics.has_json]
    names = dict.fromkeys([*metrics.dimension_names, *details, *groups])
    select = forms.Select(choices=[("", "–"), *((name, get_label(name)) for name in names)])
    select.attrs["aria-label"] = "Group by"
    fields: dict[str, forms.Field] = {
        "_group": forms.Field(label="Group by", widget=RepeatedInput(select, FEWEST_GROUPS))
    }
    if metrics.has_json:
        tag = forms.TextInput({"autocomplete": "off", "data-suggestions": get_suggestions_url(kind.model, "tag_key")})
        fields["_tag"] = forms.CharField(label="Group by a tag", help_text="The tag's key, e.g. team.", widget=tag)
    return fields


def build_number_fields(metrics: MetricSet, limit_word: str) -> dict[str, forms.Field]:
    """Return the inputs of the measures, of the number of rows and of further columns."""
    measures = forms.CheckboxSelectMultiple(choices=[(name, get_label(name)) for name in metrics.measures])
    limits = [("", "All rows"), *((number, f"{limit_word} {number} + others") for number in LIMITS)]
    return {
        "measures": forms.Field(label="Numbers", widget=measures),
        "limit": build_choice("Rows", limits),
        "compare": build_choice("Compare with", [("", "Nothing"), *BASELINE_LABELS.items()]),
        "fill": forms.Field(label="Empty intervals too", widget=forms.CheckboxInput({"value": "zero"})),
    }


def build_choice(label: str, choices: list[tuple[str, str]]) -> forms.Field:
    """Return a drop-down; a value of the address that is not a choice is added."""
    return forms.Field(label=label, widget=AddressSelect(choices=choices))


def get_limit_word(metrics: MetricSet, data: QueryDict, interval: str, groups: list[str]) -> str:
    """Return `First` where the order has dimensions alone, so that the limit cuts by it, else `Top`."""
    order = [name.removeprefix("-") for name in split_names(data, "order_by")]
    in_series = interval and groups
    measures = {*metrics.measures, *(f"{CHANGE}{name}" for name in metrics.measures)}
    return "First" if order and not in_series and order[0] not in measures else "Top"
