"""The answer of a report: what its owner's page shows at that time, with the rights that they have at that time."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from django.contrib.auth.models import User
from django.http import HttpRequest, QueryDict
from rest_framework.exceptions import ValidationError

from portal.reports.models import Report
from usage.api.access import filter_by_staff_scope, get_staff_scope
from usage.explore.kinds import SummaryKind, get_kinds
from usage.explore.params import Params, encode, list_params
from usage.explore.query import PATIENCE_SECONDS, Answer, ask, build_filterset
from usage.explore.saved import ViewAccess, list_views
from usage.exports import compute_totals
from usage.models import SavedView
from usage.ranges import RANGES
from usage.snapshot import consistent_snapshot
from usage.stored import format_digest
from usage.summaries.combined import build_filterset as build_kind_filterset
from usage.summaries.combined import list_reported_kinds
from usage.summaries.metrics import METRICS
from usage.timeouts import limit_query_time

PERMISSION: Final = "reports.add_report"


class ReportRefused(Exception):
    """A report that its owner may not, or no longer, have sent; the text explains why."""


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """The answer of a report. `params`: those of the page that shows the same, without `kind`.

    `records`, `digest`: of the records behind the answer, as a manifest has them (usage/exports/manifest.py).
    """

    kind: SummaryKind
    params: Params
    answer: Answer
    records: int
    digest: str

    @property
    def page_params(self) -> Params:
        """The parameters with `kind`, as the page's address has them."""
        return [("kind", self.kind.name), *self.params]

    @property
    def meta(self) -> dict[str, Any]:
        """The data quality of the answer."""
        meta: dict[str, Any] = self.answer.summary["meta"]
        return meta


def build_owner_request(owner: User) -> HttpRequest:
    """Return a request as the owner would make it now, by which the pages decide; raises ReportRefused."""
    if not owner.is_active:
        raise ReportRefused(f"Its owner, {owner}, is deactivated.")
    if not (owner.is_staff and owner.has_perm(PERMISSION)):
        raise ReportRefused(f"Its owner, {owner}, may no longer send reports.")
    request = HttpRequest()
    request.user = owner
    if get_staff_scope(request) == frozenset():
        raise ReportRefused(f"Its owner, {owner}, may no longer see any source.")
    return request


def list_moving_views(request: HttpRequest) -> list[SavedView]:
    """Return the saved views that a person may open and that move with the calendar."""
    return [listed.view for listed in list_views(request, "") if listed.view.moving_range in RANGES]


def build_answer(report: Report, at: datetime) -> ReportAnswer:
    """Return the answer of a report whose range is of the date of an instant.

    Raises ReportRefused where its owner may not see it (any more), and QueryTimeout as the page does.
    """
    owner = User.objects.get(pk=report.owner_id)
    request = build_owner_request(owner)
    view, kind = find_view(report, request)
    params = build_params(view, report.get_date(at))
    with consistent_snapshot(seconds=PATIENCE_SECONDS):
        try:
            filterset = build_filterset(kind, QueryDict(encode(params)), request)
            answer = ask(kind, filterset, lambda: None)
        except ValidationError as error:
            names = ", ".join(error.detail) if isinstance(error.detail, dict) else ""
            raise ReportRefused(f"The saved view asks for what is not there for {owner} any more: {names}.") from None
        with limit_query_time(PATIENCE_SECONDS):
            records, digest = compute_state(kind, filterset, request)
    return ReportAnswer(kind, params, answer, records, digest)


def find_view(report: Report, request: HttpRequest) -> tuple[SavedView, SummaryKind]:
    """Return the saved view of a report and its kind; raises ReportRefused where its owner may not open it."""
    view = report.view
    if view is None:
        raise ReportRefused("Its saved view was deleted.")
    kind = get_kinds(request).get(view.kind)
    if kind is None:
        raise ReportRefused(f"Its owner, {request.user}, may no longer see this usage.")
    if not ViewAccess.build(request).may_open(view):
        raise ReportRefused(f"Its saved view is no longer shared with {request.user}.")
    if view.moving_range not in RANGES:
        raise ReportRefused("The range of its saved view no longer moves with the calendar.")
    return view, kind


def build_params(view: SavedView, day: date) -> Params:
    """Return the parameters of a view on a date, without `kind`.

    The date is the date that the report is scheduled on. By the date of the view's own zone, which may differ, a day
    would be sent twice when clocks are put forward, and none when they are put back.
    """
    first, end = RANGES[view.moving_range][1](day)
    params = ((name, value) for name, value in list_params(QueryDict(view.question)) if name not in {"from", "to"})
    return [("from", str(first)), ("to", str(end)), *params]


def compute_state(kind: SummaryKind, filterset: Any, request: HttpRequest) -> tuple[int, str]:
    """Return the number and the digest of the records behind an answer, as the manifest of their export has them.

    Accrued runtime comes with runs that stop after the range, too.
    """
    if kind.model is None:
        names = list_reported_kinds(filterset)
        filtersets = [(METRICS[name].kind, build_kind_filterset(name, filterset)) for name in names]
    else:
        if filterset.data.get("basis") == "accrued":
            filterset = build_filterset(kind, drop_end(filterset.data), request)
        filtersets = [(kind.model, filterset)]
    records, digest = 0, 0
    for model, kind_filterset in filtersets:
        kind_filterset.is_valid()
        rows = filter_by_staff_scope(model.objects.all(), request, "source_id")
        totals = compute_totals(kind_filterset.filter_queryset(rows), kind_filterset)
        records, digest = records + totals["rows"], digest + int(totals["digest"], 16)
    return records, format_digest(digest)


def drop_end(data: QueryDict) -> QueryDict:
    """Return parameters without the end of their range."""
    return QueryDict(encode((name, value) for name, value in list_params(data) if name != "to"))
