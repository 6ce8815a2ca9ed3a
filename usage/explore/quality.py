"""The data quality of an answer in sentences, from its `meta`."""

from dataclasses import dataclass
from itertools import chain
from typing import Any

from usage.data_quality.messages import (
    describe_acceptance,
    describe_completeness,
    describe_findings,
    describe_later_sources,
    describe_quality,
    get_tone,
    list_accepted_days,
)


@dataclass(frozen=True, slots=True)
class AnswerQuality:
    """The data quality of an answer: `tone` as of `get_tone`; `days` are the days behind the sentences, by title."""

    tone: str
    sentences: list[str]
    days: list[tuple[str, list[dict[str, Any]]]]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def describe_answer_quality(meta: dict[str, Any]) -> AnswerQuality:
    """Return the sentences of an answer's `meta`, and the days behind them."""
    previous = meta.get("previous")
    sentences = [*describe_quality(meta)]
    if previous is not None:
        previous_sentences = chain(
            describe_later_sources(previous) if previous["complete"] else describe_completeness(previous),
            describe_findings(previous),
        )
        sentences += [f"In the period before: {sentence}" for sentence in previous_sentences]
    sentences += [meta["teams"]] if "teams" in meta else []
    tone = get_tone(meta) if previous is None else get_tone(meta, previous)
    days = [
        (f"{title} ({day_list['total']:,})", day_list["days"])
        for title, day_list in list_days(meta)
        if day_list["total"]
    ]
    return AnswerQuality(tone, sentences, [*days, *list_accepted(meta)])


def list_days(meta: dict[str, Any]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return the days that are incomplete or in doubt, by title."""
    return (
        ("Days never read", meta["missing_days"]),
        ("Days not read completely", meta["partial_days"]),
        ("Suspect days: a read would withdraw too many records", meta["suspect_days"]),
        ("Days that do not agree with the vendor's own sums", meta["unverified_days"]),
        ("Days whose stored records differ from what was read", meta["mismatched_days"]),
        ("Days whose records were pruned", meta["pruned_days"]),
        ("Days whose records are archived", meta["archived_days"]),
    )


def list_accepted(meta: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the days whose findings a person accepted, each with its reason, under their title; nothing for none."""
    days = [{**day, "words": describe_acceptance(day)} for day in list_accepted_days(meta)]
    return [(f"Days with findings that a person accepted ({len(days):,})", days)] if days else []
