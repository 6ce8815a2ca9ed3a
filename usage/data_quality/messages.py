"""What stands against the days of an answer, in sentences: the same on pages, in files and in manifests."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from usage.formatting import format_count, format_date, pluralize

MAX_NAMED_DAYS: Final = 5  # in a sentence; the lists beside it have more
Meta = dict[str, Any]


def describe_quality(meta: Meta) -> Iterator[str]:
    """Yield the data quality of an export, a sentence each."""
    if meta["complete"]:
        yield "Complete: every day of the range was read to its end, and every record was kept."
    else:
        through = (
            f" It is complete through {format_date(meta['complete_through'])}." if meta["complete_through"] else ""
        )
        gaps = ", ".join(f"{format_count(number, 'day')} {what}" for number, what in list_gaps(meta))
        yield f"Not complete{': ' if gaps else ''}{gaps}.{through}"
    yield from describe_findings(meta)
    yield from describe_provisional(meta)
    if meta["restated_since"]:
        yield f"A day of it last came back different on {format_date(meta['restated_since'][:10])}."


def describe_findings(meta: Meta) -> Iterator[str]:
    """Yield a sentence for each kind of finding about days of the range, then what people accepted and why."""
    suspect, mismatched = meta["suspect_days"], meta["mismatched_days"]
    if total := mismatched["total"]:
        yield (
            f"The check of stored records found {format_count(total, 'day')} different; "
            f"{pluralize(total, 'it is', 'they are')} being read again: {name_days(mismatched['days'], total)}."
        )
    if total := suspect["total"]:
        yield (
            f"{format_count(total, 'day')} {pluralize(total, 'is', 'are')} suspect, as a read would take away too "
            f"much: {name_days(suspect['days'], total)}."
        )
    unverified = [day for day in meta["unverified_days"]["days"] if day["accepted"] is None]
    if total := count_open(meta["unverified_days"]):
        yield (
            f"{format_count(total, 'day')} {pluralize(total, 'does', 'do')} not agree with the vendor's own sums: "
            f"{name_days(unverified, total)}."
        )
    yield from describe_pruned(meta["pruned_days"])
    yield from describe_accepted(list_accepted_days(meta))


def describe_pruned(pruned: dict[str, Any]) -> Iterator[str]:
    """Yield which days lack their records, and whether their sums are there all the same."""
    if total := pruned["total"]:
        consequence = "their sums come from roll-ups" if pruned["rolled_up"] else "they are not in these numbers"
        yield (
            f"The records of {format_count(total, 'day')} were pruned, so {consequence}: "
            f"{name_days(pruned['days'], total)}."
        )


def list_gaps(meta: Meta) -> list[tuple[int, str]]:
    """Return how many days of the range something is missing of, and what, as far as any is."""
    pruned = 0 if meta["pruned_days"]["rolled_up"] else meta["pruned_days"]["total"]
    counts = (
        (meta["missing_days"]["total"], "never read"),
        (meta["partial_days"]["total"], "not read completely"),
        (pruned, "pruned"),
    )
    return [(number, what) for number, what in counts if number]


def describe_provisional(meta: Meta) -> Iterator[str]:
    """Yield from which day on numbers may still change, and from which only the closing read of their month is due."""
    provisional, unsettled = meta["provisional_from"], meta["unsettled_from"]
    if provisional and provisional != unsettled:
        yield f"From {format_date(provisional)} on, numbers are final after the closing read of their month."
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


def name_days(days: Sequence[dict[str, Any]], total: int) -> str:
    """Return e.g. `main 3 Nov 2026, main 4 Nov 2026 and 7 more`."""
    named = ", ".join(f"{day['source']} {format_date(day['day'])}" for day in days[:MAX_NAMED_DAYS])
    more = total - min(len(days), MAX_NAMED_DAYS)
    return f"{named} and {more:,} more" if more else named
