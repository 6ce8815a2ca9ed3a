"""The data quality of an answer in sentences, from its `meta`."""

from dataclasses import dataclass
from typing import Any

from usage.data_quality.messages import (
    describe_acceptance,
    describe_findings,
    describe_provisional,
    list_accepted_days,
    list_gaps,
    needs_attention,
)
from usage.formatting import format_count, format_date, format_instant, pluralize


@dataclass(frozen=True, slots=True)
class AnswerQuality:
    """The data quality of an answer: `tone` is good or warn; `days` are the days behind the sentences, by title."""

    tone: str
    sentences: list[str]
    days: list[tuple[str, list[dict[str, Any]]]]

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def describe_answer_quality(meta: dict[str, Any]) -> AnswerQuality:
    """Return the sentences of an answer's `meta`, and the days behind them."""
    previous = meta.get("previous")
    sentences = [*describe_completeness(meta), *describe_findings(meta), *describe_changes(meta)]
    if previous is not None and not previous["complete"]:
        sentences.append(
            f"The period before is not complete, so its numbers may be too low: {describe_gaps(previous)}."
        )
    if previous is not None:
        sentences += [f"In the period before: {sentence}" for sentence in describe_findings(previous)]
    sentences += [meta["teams"]] if "teams" in meta else []
    ranges = [meta] if previous is None else [meta, previous]
    sound = all(one["complete"] and not needs_attention(one) for one in ranges)
    days = [(f"{title} ({found['total']:,})", found["days"]) for title, found in list_days(meta) if found["total"]]
    return AnswerQuality("good" if sound else "warn", sentences, [*days, *list_accepted(meta)])


def list_days(meta: dict[str, Any]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return the days that something is missing of or that are in doubt, by title."""
    return (
        ("Days never read", meta["missing_days"]),
        ("Days not read completely", meta["partial_days"]),
        ("Suspect days: a read would withdraw too many records", meta["suspect_days"]),
        ("Days that do not agree with the vendor's own sums", meta["unverified_days"]),
        ("Days whose stored records differ from what was read", meta["mismatched_days"]),
        ("Days whose records were pruned", meta["pruned_days"]),
    )


def list_accepted(meta: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the days whose findings a person accepted, each with its reason, under their title; nothing for none."""
    days = [{**day, "words": describe_acceptance(day)} for day in list_accepted_days(meta)]
    return [(f"Days with findings that a person accepted ({len(days):,})", days)] if days else []


def describe_completeness(meta: dict[str, Any]) -> list[str]:
    """Return whether every day of the range is stored, and up to which day."""
    if meta["complete"]:
        return ["Complete: every day of the range was read to its end."]
    sentences = [f"Not complete: {describe_gaps(meta)}."]
    if meta["complete_through"]:
        sentences.append(f"Everything up to {format_date(meta['complete_through'])} is there.")
    return sentences


def describe_gaps(meta: dict[str, Any]) -> str:
    """Return why a range is not complete."""
    lacking = [
        f"{format_count(number, 'day')} {pluralize(number, 'was', 'were')} {what}" for number, what in list_gaps(meta)
    ]
    return "; ".join(lacking) or describe_open_range(meta)


def describe_open_range(meta: dict[str, Any]) -> str:
    """Return why a range without a gap is not complete."""
    if "as_of" in meta and (meta["to"] is None or meta["to"] > meta["as_of"]):
        return "the range has not ended yet"
    return "the range begins before the portal has anything of a source"


def describe_changes(meta: dict[str, Any]) -> list[str]:
    """Return which numbers may still change, and which did."""
    sentences = [*describe_provisional(meta)]
    if meta["restated_since"]:
        sentences.append(f"The vendor last changed a day afterwards on {format_instant(meta['restated_since'])}.")
    return sentences
