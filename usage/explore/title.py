"""The description of a question: the title of its answer, and a chip for everything that narrows or changes it."""

from collections.abc import Iterable
from typing import Any

from usage.admin.filter_chips import Chip, FilterChips
from usage.explore.baselines import Baseline
from usage.explore.params import encode
from usage.explore.query import Problems
from usage.explore.steps import Question
from usage.labels import get_label
from usage.ranges import describe_range


def build_title(question: Question) -> str:
    """Return what an answer is of: `Environments by project and day`."""
    names = [*question.dimensions, *filter(None, (question.interval,))]
    labels = [label[0].lower() + label[1:] for label in map(get_label, names)]
    by = f" by {' and '.join(filter(None, (', '.join(labels[:-1]), labels[-1])))}" if labels else ""
    return f"{question.kind.label}{by}"


def list_question_chips(
    question: Question, filterset: Any, problems: Problems, baselines: Iterable[Baseline]
) -> list[Chip]:
    """Return the filters and the other parameters that change an answer, each with the address without it."""
    params = question.params

    def build_url(name: str, value: str) -> str:
        return f"?{encode(pair for pair in params if pair != (name, value))}"

    chips = list(FilterChips(filterset, question.kind.model, problems, build_url).build())
    valid_params = {name: value for name, value in params if name not in problems}
    labels = {
        "compare": next((f"Compared with {baseline.dates}" for baseline in baselines if baseline.is_current), ""),
        "limit": f"Top {valid_params.get('limit')} + others",
        "basis": "Runtime while running" if valid_params.get("basis") == "accrued" else "",
    }
    for name, label in labels.items():
        if name in valid_params and label:
            url = question.regroup(question.dimensions, question.interval, **{name: ""})
            chips.append(Chip(label, f"?{url}"))
    return chips


def describe_filters(chips: list[Chip], bounds: tuple[str, str], zone: str) -> str:
    """Return the range and the filters of a question: `1 Nov 2026 – 30 Nov 2026 (UTC) · Project: 5`."""
    return " · ".join([f"{describe_range(bounds)} ({zone})", *(chip.label for chip in chips)])
