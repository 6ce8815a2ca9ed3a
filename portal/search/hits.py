"""What a search finds."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """A hit of a search: its page, and the lists it leads to as (label, address)."""

    title: str
    detail: str
    url: str
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class HitGroup:
    """The hits of a sort; `is_cut`: there are more."""

    title: str
    hits: Sequence[Hit]
    is_cut: bool = False
