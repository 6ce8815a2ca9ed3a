"""What is known of the days of an answer, in sentences: the same on pages, in files and in manifests."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final

from usage.formatting import format_count, format_date, pluralize
from usage.models.day_status import TODAY_OPEN

MAX_NAMED_DAYS: Final = 5  # in a sentence; the lists beside it have more
COMPLETE: Final = "Complete: every day of the range was read to its end, and every record was kept."
AWAITS_CLOSE: Final = "waiting for their month's close"
Meta = dict[str, Any]


def describe_quality(meta: Meta) -> Iterator[str]:
    """Yield the data quality of an answer, a sentence each."""
    yield from describe_completeness(meta)
    yield from describe_findings(meta)
    yield from describe_provisional(meta)
    if meta["restated_since"]:
        yield f"A day of it last came back different on {format_date(meta['restated_since'][:10])}."


def get_tone(*periods: Meta) -> str:
    """Return `warn` where days are missing or in doubt, `good` where every day is complete, else `plain`.

    A range that has not ended, and a source that is stored from a later day on, are nothing that a person could mend.
    """
    if any(list_gaps(period) or needs_attention(period) for period in periods):
        return "warn"
    return "good" if all(period["complete"] for period in periods) else "plain"


def describe_completeness(meta: Meta) -> Iterator[str]:
    """Yield how far the range is complete, which days are missing, and which sources are stored from later on."""
    gaps, through = describe_gaps(meta), meta["complete_through"]
    if meta["complete"]:
        yield COMPLETE
    elif gaps:
        yield f"Not complete: {gaps}."
    if through and not meta["complete"]:
        rest = f"; {describe_open(meta)}" if meta["open_days"]["total"] else ""
        yield f"{describe_through(format_date(through), get_zone_note(meta))}{rest}."
    elif meta["open_days"]["total"]:
        sentence = describe_open(meta)
        yield f"{sentence[0].upper()}{sentence[1:]}."
    elif not (meta["complete"] or gaps or meta["later_sources"]):
        yield "No day of the range is stored yet."
    yield from describe_later_sources(meta)


def describe_through(day: str, zone: str = "") -> str:
    """Return how far something is complete, as every page says it: `Complete through 29 Nov 2026`."""
    return f"Complete through {day}{f' ({zone})' if zone else ''}"


def get_zone_note(meta: Meta) -> str:
    """Return the zone of the question where sources have days of another one, '' where all days are those of it."""
    return str(meta["tz"]) if meta.get("source_zones") and "tz" in meta else ""


def describe_open(meta: Meta) -> str:
    """Return which days of the range are not over: `today still open`, with the day where it is not the question's."""
    others = [day for day in meta["open_days"]["days"] if day["source"] in meta["source_zones"]]
    return f"{TODAY_OPEN} ({name_days(meta, others, len(others))})" if others else TODAY_OPEN


def describe_later_sources(meta: Meta) -> Iterator[str]:
    """Yield which sources are stored from a day within or after the range on."""
    later = meta["later_sources"]
    named = [f"{one['source']} from {format_date(one['first_day'])} on" for one in later[:MAX_NAMED_DAYS]]
    if (more := len(later) - MAX_NAMED_DAYS) > 0:
        named.append(f"{format_count(more, 'source')} more from a later day on")
    if named:
        yield f"Not yet stored at the start of the range: {', '.join(named)}."


def describe_gaps(meta: Meta) -> str:
    """Return which days something is missing of: `1 day never read (main 3 Nov 2026)`; '' for none."""
    return "; ".join(
        f"{format_count(listed['total'], 'day')} {what} ({name_days(meta, listed['days'], listed['total'])})"
        for what, listed in list_gaps(meta)
    )


def describe_findings(meta: Meta) -> Iterator[str]:
    """Yield a sentence for each kind of finding about days of the range, then what people accepted and why."""
    suspect, mismatched = meta["suspect_days"], meta["mismatched_days"]
    if total := mismatched["total"]:
        yield (
            f"The check of stored records found {format_count(total, 'day')} different; "
            f"{pluralize(total, 'it is', 'they are')} being read again: {name_days(meta, mismatched['days'], total)}."
        )
    if total := suspect["total"]:
        yield (
            f"{format_count(total, 'day')} {pluralize(total, 'is', 'are')} suspect, as a read would take away too "
            f"much: {name_days(meta, suspect['days'], total)}."
        )
    unverified = [day for day in meta["unverified_days"]["days"] if day["accepted"] is None]
    if total := count_open(meta["unverified_days"]):
        yield (
            f"{format_count(total, 'day')} {pluralize(total, 'does', 'do')} not agree with the vendor's own sums: "
            f"{name_days(meta, unverified, total)}."
        )
    yield from describe_pruned(meta)
    yield from describe_accepted(list_accepted_days(meta))


def describe_pruned(meta: Meta) -> Iterator[str]:
    """Yield which days lack their records, and whether their sums are there all the same."""
    pruned = meta["pruned_days"]
    if total := pruned["total"]:
        consequence = "their sums come from roll-ups" if pruned["rolled_up"] else "they are not in these numbers"
        yield (
            f"The records of {format_count(total, 'day')} were pruned, so {consequence}: "
            f"{name_days(meta, pruned['days'], total)}."
        )


def list_gaps(meta: Meta) -> list[tuple[str, dict[str, Any]]]:
    """Return what is missing of which days of the range; a day that is not over is no gap."""
    lists = [("never read", meta["missing_days"]), ("not read completely", meta["partial_days"])]
    if not meta["pruned_days"]["rolled_up"]:
        lists.append(("pruned", meta["pruned_days"]))
    return [(what, listed) for what, listed in lists if listed["total"]]


def describe_provisional(meta: Meta) -> Iterator[str]:
    """Yield from which day on numbers may still change, and from which only the closing read of their month is due."""
    provisional, unsettled = meta["provisional_from"], meta["unsettled_from"]
    if provisional and provisional != unsettled:
        last = date.fromisoformat(unsettled) - timedelta(days=1) if unsettled else None
        until = f" through {format_date(last)}" if last else " on"
        yield f"Days from {format_date(provisional)}{until} are {AWAITS_CLOSE}."
    if unsettled:
        yield f"From {format_date(unsettled)} on, numbers may still change."


def describe_accepted(days: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each of the first accepted days, and one for how many more there are."""
    for day in days[:MAX_NAMED_DAYS]:
        yield describe_acceptance(day)
    if (more := len(days) - MAX_NAMED_DAYS) > 0:
        yield f"{format_count(more, 'day')} more {pluralize(more, 'has', 'have')} findings that a person accepted."


def describe_acceptance(day: dict[str, Any]) -> str:
    """Return e.g. `main 3 Nov 2026: a person accepted its findings on 5 Nov 2026: “Known at the vendor.”`."""
    accepted = day["accepted"]
    at = format_date(accepted["at"][:10])
    return f"{day['source']} {format_date(day['day'])}: a person accepted its findings on {at}: “{accepted['reason']}”"


def list_accepted_days(meta: Meta) -> list[dict[str, Any]]:
    """Return the named days whose findings a person accepted, each once, the earliest first."""
    days = [*meta["partial_days"]["days"], *meta["unverified_days"]["days"]]
    found = {(day["day"], day["source"]): day for day in days if day["accepted"] is not None}
    return [found[key] for key in sorted(found)]


def needs_attention(meta: Meta) -> bool:
    """Tell whether days of the range are suspect, mismatched, or unverified and not accepted."""
    doubtful = meta["suspect_days"]["total"] or meta["mismatched_days"]["total"]
    return bool(doubtful or count_open(meta["unverified_days"]))


def count_open(listed: dict[str, Any]) -> int:
    """Return how many days of a list nobody accepted, as far as they are named."""
    return int(listed["total"]) - sum(day["accepted"] is not None for day in listed["days"])


def name_days(meta: Meta, days: Sequence[dict[str, Any]], total: int) -> str:
    """Return e.g. `main 3 Nov 2026, main 4 Nov 2026 and 7 more`, a day of another zone than the question's with it."""
    named = ", ".join(name_day(meta, day) for day in days[:MAX_NAMED_DAYS])
    more = total - min(len(days), MAX_NAMED_DAYS)
    return f"{named} and {more:,} more" if more else named


def name_day(meta: Meta, day: dict[str, Any]) -> str:
    """Return a day of a source: `main 3 Nov 2026`, `main 3 Nov 2026 in Europe/Berlin`."""
    zone = meta["source_zones"].get(day["source"], "")
    return f"{day['source']} {format_date(day['day'])}{f' in {zone}' if zone else ''}"
