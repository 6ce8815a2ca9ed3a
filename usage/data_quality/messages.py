"""The data quality of an answer, in sentences: the same on pages, in files and in manifests."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final

from usage.data_quality.assess import LAKE, ROLLUPS
from usage.formatting import format_count, format_date, format_dates, pluralize
from usage.models.day_status import TODAY_OPEN

MAX_NAMED_DAYS: Final = 5  # or runs of days, in a sentence; the lists beside it have more
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

    A range that has not ended, and a source that is stored from a later day on, need no action.
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
        open_note = f"; {describe_open(meta)}" if meta["open_days"]["total"] else ""
        yield f"{describe_through(format_date(through), get_zone_note(meta))}{open_note}."
    elif meta["open_days"]["total"]:
        sentence = describe_open(meta)
        yield f"{sentence[0].upper()}{sentence[1:]}."
    elif not (meta["complete"] or gaps or meta["later_sources"]):
        yield "No day of the range is stored yet."
    yield from describe_later_sources(meta)


def describe_through(day: str, zone: str = "") -> str:
    """Return how far something is complete, the same on every page: `Complete through 29 Nov 2026`."""
    return f"Complete through {day}{f' ({zone})' if zone else ''}"


def get_zone_note(meta: Meta) -> str:
    """Return the zone of the question where sources have days of another zone, else ''."""
    return str(meta["tz"]) if meta.get("source_zones") and "tz" in meta else ""


def describe_open(meta: Meta) -> str:
    """Return which days of the range are not over: `today still open`, with the days of sources in other zones."""
    other_days = [day for day in meta["open_days"]["days"] if day["source"] in meta["source_zones"]]
    return f"{TODAY_OPEN} ({name_days(meta, other_days, len(other_days))})" if other_days else TODAY_OPEN


def describe_later_sources(meta: Meta) -> Iterator[str]:
    """Yield which sources are stored from a day within or after the range on."""
    later = meta["later_sources"]
    descriptions = [f"{day['source']} from {format_date(day['first_day'])} on" for day in later[:MAX_NAMED_DAYS]]
    if (more := len(later) - MAX_NAMED_DAYS) > 0:
        descriptions.append(f"{format_count(more, 'source')} more from a later day on")
    if descriptions:
        yield f"Not yet stored at the start of the range: {', '.join(descriptions)}."


def describe_gaps(meta: Meta) -> str:
    """Return which days something is missing of: `1 day never read (main 3 Nov 2026)`; '' for none."""
    return "; ".join(
        f"{format_count(day_list['total'], 'day')} {reason} ({name_days(meta, day_list['days'], day_list['total'])})"
        for reason, day_list in list_gaps(meta)
    )


def describe_findings(meta: Meta) -> Iterator[str]:
    """Yield a sentence for each kind of finding about days of the range, then what people accepted and why."""
    suspect, mismatched = meta["suspect_days"], meta["mismatched_days"]
    if total := mismatched["total"]:
        again = (
            "those that are not archived are"
            if meta["archived_days"]["total"]
            else pluralize(total, "it is", "they are")
        )
        yield (
            f"The check of stored records found {format_count(total, 'day')} different; {again} being read again: "
            f"{name_days(meta, mismatched['days'], total)}."
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
    yield from describe_archived(meta)
    yield from describe_accepted(list_accepted_days(meta))


def describe_pruned(meta: Meta) -> Iterator[str]:
    """Yield which days lack their records, and whether the answer has their sums."""
    pruned = meta["pruned_days"]
    total, days = pruned["total"], pruned["days"]
    if total and pruned["rolled_up"]:
        yield (
            f"The records of {format_count(total, 'day')} were pruned, so their sums come from roll-ups: "
            f"{name_days(meta, days, total)}."
        )
    elif total:
        yield f"Pruned days are not in these numbers{describe_rollups(meta, days)}."


def describe_archived(meta: Meta) -> Iterator[str]:
    """Yield which days have their records in the lake alone, what the answer has of them, and where to get them."""
    archived = meta["archived_days"]
    total, days = archived["total"], archived["days"]
    if total and archived["answered_from"]:
        consequence = {LAKE: "they come from the lake", ROLLUPS: "their sums come from roll-ups"}
        yield (
            f"The records of {format_count(total, 'day')} are archived, so {consequence[archived['answered_from']]}: "
            f"{name_days(meta, days, total)}."
        )
    elif total:
        yield (
            f"Archived days are not in these numbers; an export has them, or the lake{describe_rollups(meta, days)}."
        )


def describe_rollups(meta: Meta, days: Sequence[dict[str, Any]]) -> str:
    """Return the note of the zones by whose days roll-ups have the sums, '' for none."""
    zones = {meta["source_zones"].get(day["source"]) for day in days} - {None}
    return f"; roll-ups have their sums, by days of {' or '.join(sorted(zones))}" if zones else ""


def list_gaps(meta: Meta) -> list[tuple[str, dict[str, Any]]]:
    """Return the reasons of gaps with their days; a day that is not over is no gap."""
    lists = [("never read", meta["missing_days"]), ("not read completely", meta["partial_days"])]
    if not meta["pruned_days"]["rolled_up"]:
        lists.append(("pruned", meta["pruned_days"]))
    if meta["archived_days"]["answered_from"] is None:
        lists.append(("archived", meta["archived_days"]))
    return [(reason, day_list) for reason, day_list in lists if day_list["total"]]


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
    """Yield a sentence for each of the first accepted days, and one for the number of further days."""
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
    accepted_days = {(day["day"], day["source"]): day for day in days if day["accepted"] is not None}
    return [accepted_days[key] for key in sorted(accepted_days)]


def needs_attention(meta: Meta) -> bool:
    """Return whether days of the range are suspect, mismatched, or unverified and not accepted."""
    doubtful = meta["suspect_days"]["total"] or meta["mismatched_days"]["total"]
    return bool(doubtful or count_open(meta["unverified_days"]))


def count_open(day_list: dict[str, Any]) -> int:
    """Return how many days of a list are not accepted, as far as the list names them."""
    return int(day_list["total"]) - sum(day["accepted"] is not None for day in day_list["days"])


def name_days(meta: Meta, days: Sequence[dict[str, Any]], total: int) -> str:
    """Return e.g. `main 3 Nov 2026 – 7 Nov 2026, other 4 Nov 2026 and 7 more`; see `name_run`."""
    runs = join_days(days)[:MAX_NAMED_DAYS]
    text = ", ".join(name_run(meta, *run) for run in runs)
    more = total - sum((last - first).days + 1 for _, first, last in runs)
    return f"{text} and {more:,} more" if more else text


def join_days(days: Sequence[dict[str, Any]]) -> list[tuple[str, date, date]]:
    """Return the runs of days of a source that follow each other, as (source, first, last), the earliest first."""
    runs: list[tuple[str, date, date]] = []
    for slug, day in sorted((day["source"], to_date(day["day"])) for day in days):
        if runs and runs[-1][0] == slug and day - runs[-1][2] == timedelta(days=1):
            runs[-1] = (slug, runs[-1][1], day)
        else:
            runs.append((slug, day, day))
    return sorted(runs, key=lambda run: (run[1], run[0]))


def to_date(day: date | str) -> date:
    """Return a day of `meta`, which is text once it was JSON."""
    return date.fromisoformat(day) if isinstance(day, str) else day


def name_run(meta: Meta, source: str, first: date, last: date) -> str:
    """Return a run of days of a source, with their zone if it is not the question's."""
    zone = meta["source_zones"].get(source, "")
    return f"{source} {format_dates(first, last)}{f' in {zone}' if zone else ''}"
