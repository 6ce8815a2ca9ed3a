"""What an answer is worth, in plain sentences."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from usage.coverage import days_in_words


@dataclass(frozen=True, slots=True)
class Worth:
    """How far an answer can be trusted: `tone` is good or warn; `days` names the days behind the sentences."""

    tone: str
    sentences: list[str]
    days: list[tuple[str, list[dict[str, str]]]]

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def worth_of(meta: dict[str, Any]) -> Worth:
    """Return what an answer's `meta` says, in words."""
    past = meta.get("previous", {"complete": True})
    sentences = [*completeness(meta), *what_may_change(meta)]
    if not past["complete"]:
        sentences.append(f"The period before is not complete, so a change may be none: {lacks(past)}.")
    days = [(f"{words} ({found['total']:,})", found["days"]) for words, found in named(meta) if found["total"]]
    return Worth("good" if meta["complete"] and past["complete"] else "warn", sentences, days)


def named(meta: dict[str, Any]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return the days that something is missing of."""
    return ("Days never read", meta["missing_days"]), ("Days not read completely", meta["partial_days"])


def completeness(meta: dict[str, Any]) -> list[str]:
    """Return what is held of the range and what is not."""
    if meta["complete"]:
        return ["Complete: every day of the range was read to its end."]
    said = [f"Not complete: {lacks(meta)}."]
    if meta["complete_through"]:
        said.append(f"Everything up to {on(meta['complete_through'])} is there.")
    return said


def lacks(meta: dict[str, Any]) -> str:
    """Return what a range that is not complete lacks."""
    lacking = [
        f"{days_in_words(found['total'])} {'was' if found['total'] == 1 else 'were'} {words}"
        for found, words in ((meta["missing_days"], "never read"), (meta["partial_days"], "not read completely"))
        if found["total"]
    ]
    return "; ".join(lacking) or why_open(meta)


def why_open(meta: dict[str, Any]) -> str:
    """Return why a range without a gap is not complete."""
    if "as_of" in meta and (meta["to"] is None or meta["to"] > meta["as_of"]):
        return "the range has not ended yet"
    return "the range begins before the portal has anything of a source"


def what_may_change(meta: dict[str, Any]) -> list[str]:
    """Return which numbers may still change, and which did."""
    said = []
    if meta["provisional_from"]:
        said.append(
            f"From {on(meta['provisional_from'])} on numbers are provisional: the vendor may still change them."
        )
    if meta["restated_since"]:
        at = datetime.fromisoformat(meta["restated_since"])
        said.append(f"The vendor last changed a day afterwards on {at.day} {at:%b %Y %H:%M} UTC.")
    return said


def on(written: str) -> str:
    """Return a date as people say it: `3 Nov 2026`."""
    day = date.fromisoformat(written)
    return f"{day.day} {day:%b %Y}"
