"""Alerts about days that were restated lately by more than the threshold, a line for each source."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from portal.incidents.alerts import Alert, Link, build_list_link, get_source_key, get_source_url
from portal.incidents.conditions import ConditionKind
from usage.admin.restatement_diff import SumChange, compare_sums
from usage.formatting import format_count, format_date, pluralize
from usage.models import Restatement, Source

# A restatement happens once and does not end: for so long it is told.
RESTATED_LATELY: Final = timedelta(hours=24)
MAX_RESTATEMENTS: Final = 1000


def build_restatement_alerts(sources: Sequence[Source]) -> list[Alert]:
    """Return an alert for each source with days that were restated lately by more than the threshold, in one query."""
    lately = timezone.now() - RESTATED_LATELY
    restated = Restatement.objects.filter(at__gte=lately).select_related("source_day").order_by("-at", "-id")
    large = [one for one in restated[:MAX_RESTATEMENTS] if is_large(compare_sums(one))]
    by_key = {source.pk: source for source in sources}
    ordered = sorted((one for one in large if one.source_day.source_id in by_key), key=get_source_id)
    return [build_alert(by_key[pk], list(group)) for pk, group in groupby(ordered, get_source_id)]


def get_source_id(restatement: Restatement) -> int:
    """Return the key of the source."""
    return restatement.source_day.source_id


def is_large(changes: Iterable[SumChange]) -> bool:
    """Tell whether any number changed by PORTAL_RESTATED_SHARE of what it was, and by the amount of its unit."""
    return any(True for _ in list_large_changes(changes))


def list_large_changes(changes: Iterable[SumChange]) -> Iterator[SumChange]:
    """Yield the changes beyond the threshold; a unit without an amount in PORTAL_RESTATED_AMOUNTS has none."""
    amounts = parse_amounts(settings.PORTAL_RESTATED_AMOUNTS)
    share = Decimal(str(settings.PORTAL_RESTATED_SHARE))
    for change in changes:
        difference, before = change.difference.copy_abs(), (change.before or Decimal(0)).copy_abs()
        # By multiplication: a number that was 0 changed by more than any share.
        if difference and difference >= share * before and difference >= amounts.get(change.name, Decimal(0)):
            yield change


def parse_amounts(entries: Iterable[str]) -> dict[str, Decimal]:
    """Return the smallest change of each unit, from entries such as `minutes=600`; raises ValueError for others."""
    amounts = {}
    for entry in entries:
        unit, _, amount = entry.partition("=")
        if not unit.strip() or not amount.strip().replace(".", "", 1).isdecimal():
            raise ValueError(entry)
        amounts[unit.strip()] = Decimal(amount.strip())
    return amounts


def build_alert(source: Source, restatements: Sequence[Restatement]) -> Alert:
    """Return the alert about the restatements of one source, the latest first."""
    latest = restatements[0]
    days = len({one.source_day_id for one in restatements})
    date = format_date(latest.source_day.day)
    dates = date if days == 1 else f"{format_count(days, 'day')}, the latest {date},"
    changes = ", ".join(change.text for change in list_large_changes(compare_sums(latest)))
    page = Link("Show what changed", reverse("admin:usage_restatement_change", args=[latest.pk]))
    others = build_list_link("usage_restatement", "Show the restatements", source=source.slug)
    return Alert(
        condition=ConditionKind.DAY_RESTATED,
        key=get_source_key(source),
        tone="warn",
        state="Restated",
        subject=source.slug,
        message=f"{dates} {pluralize(days, 'was', 'were')} restated by the vendor: {changes}.",
        detail="Whatever was taken from the portal before still has the old numbers.",
        url=get_source_url(source),
        links=[page if len(restatements) == 1 else others],
        source_id=source.pk,
        days=days,
    )
