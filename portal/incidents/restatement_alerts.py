"""Alerts about days that were restated lately by more than the threshold, a line for each source."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final

from django.conf import settings
from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils import timezone

from portal.incidents.alerts import Alert, AlertLink, build_list_link, build_source_alert
from portal.incidents.conditions import ConditionKind
from usage.admin.restatement_diff import SumChange, compare_sums
from usage.formatting import format_count, format_date, pluralize
from usage.models import Restatement, Source

# A restatement happens once and does not end: it has an alert for so long.
RESTATED_LATELY: Final = timedelta(hours=24)
# Of each source: many restatements of a source hide none of another.
MAX_RESTATEMENTS: Final = 200
COLUMNS: Final = (
    "at",
    "records_before",
    "records_after",
    "sums_before",
    "sums_after",
    "source_day__day",
    "source_day__source_id",
)


def build_restatement_alerts(sources: Sequence[Source]) -> list[Alert]:
    """Return an alert for each source with days that were restated lately by more than the threshold, in one query."""
    newest = (F("at").desc(), F("id").desc())
    position = Window(RowNumber(), partition_by="source_day__source_id", order_by=newest)
    lately = Q(at__gte=timezone.now() - RESTATED_LATELY, source_day__source__in=sources)
    restated = Restatement.objects.filter(lately).annotate(position=position).filter(position__lte=MAX_RESTATEMENTS)
    restated = restated.select_related("source_day").only(*COLUMNS).order_by("-at", "-id")
    amounts, by_key = parse_amounts(settings.PORTAL_RESTATED_AMOUNTS), {source.pk: source for source in sources}
    large = [restatement for restatement in restated if list_large_changes(restatement, amounts)]
    large.sort(key=get_source_id)
    return [build_alert(by_key[pk], list(group), amounts) for pk, group in groupby(large, get_source_id)]


def get_source_id(restatement: Restatement) -> int:
    """Return the key of the source."""
    return restatement.source_day.source_id


def list_large_changes(restatement: Restatement, amounts: Mapping[str, Decimal]) -> list[SumChange]:
    """Return the numbers that changed by PORTAL_RESTATED_SHARE of what they were, and by the amount of their unit."""
    share = Decimal(str(settings.PORTAL_RESTATED_SHARE))
    large = []
    for change in compare_sums(restatement):
        difference, before = change.difference.copy_abs(), (change.before or Decimal(0)).copy_abs()
        # By multiplication: a number that was 0 changed by more than any share.
        if difference and difference >= share * before and difference >= amounts.get(change.name, Decimal(0)):
            large.append(change)
    return large


def parse_amounts(entries: Iterable[str]) -> dict[str, Decimal]:
    """Return the smallest change of each unit, from entries such as `minutes=600`; raises ValueError for others."""
    amounts = {}
    for entry in entries:
        unit, _, amount = entry.partition("=")
        if not unit.strip() or not amount.strip().replace(".", "", 1).isdecimal():
            raise ValueError(entry)
        amounts[unit.strip()] = Decimal(amount.strip())
    return amounts


def build_alert(source: Source, restatements: Sequence[Restatement], amounts: Mapping[str, Decimal]) -> Alert:
    """Return the alert about the restatements of a source, which come the latest first."""
    latest = restatements[0]
    days = len({restatement.source_day_id for restatement in restatements})
    date = format_date(latest.source_day.day)
    dates = date if days == 1 else f"{format_count(days, 'day')}, the latest {date},"
    changes = ", ".join(change.text for change in list_large_changes(latest, amounts))
    page_link = AlertLink("Show what changed", reverse("admin:usage_restatement_change", args=[latest.pk]))
    list_link = build_list_link("usage_restatement", "Show the restatements", source=source.slug)
    return build_source_alert(
        ConditionKind.DAY_RESTATED,
        source,
        "warn",
        "Restated",
        f"{dates} {pluralize(days, 'was', 'were')} restated by the vendor: {changes}.",
        "Whatever was taken from the portal before still has the old numbers.",
        links=[page_link if len(restatements) == 1 else list_link],
        days=days,
    )
