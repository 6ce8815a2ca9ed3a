"""A part of a name as it may be stored: vendors send letters with accents as one character or as two."""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import Final, Literal
from unicodedata import normalize

from django.db.models import Q

FORMS: Final[tuple[Literal["NFC", "NFD"], ...]] = ("NFC", "NFD")
# PostgreSQL compares letters of one case, and under some locales of ASCII only; folding also makes ss of ß.
CASES: Final[tuple[Callable[[str], str], ...]] = (str, str.casefold, str.upper)


def list_spellings(text: str) -> list[str]:
    """Return what to search for, in any case, to find a text in both normal forms; ASCII has one spelling."""
    if text.isascii():
        return [text]
    return list(dict.fromkeys(normalize(form, change(text)) for form in FORMS for change in CASES))


def build_search(lookups: Iterable[str], text: str) -> Q:
    """Return the condition that one of the lookups finds a text in one of its spellings."""
    return reduce(or_, (Q(**{lookup: one}) for lookup in lookups for one in list_spellings(text)))
