"""A part of a name as it may be stored: vendors send letters with accents as one character or as two."""

import re
from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import Final, Literal
from unicodedata import normalize

from django.db.models import Q

FORMS: Final[tuple[Literal["NFC", "NFD"], ...]] = ("NFC", "NFD")
MIN_LETTERS: Final = 3  # an index of trigrams finds nothing shorter


def write_sharp_s(text: str) -> str:
    """Return a text with ß for each ss, where enough letters remain to search for."""
    shorter = re.sub("ss", "ß", text, flags=re.IGNORECASE)
    return shorter if len(shorter) >= MIN_LETTERS else text


# PostgreSQL compares letters of one case, and under some locales of ASCII only; folding also makes ss of ß.
CASES: Final[tuple[Callable[[str], str], ...]] = (str, str.casefold, str.upper, write_sharp_s)


def list_spellings(text: str) -> list[str]:
    """Return what to search for, in any case, to find a text in both normal forms and with either of ss and ß."""
    if text.isascii():
        return list(dict.fromkeys([text, write_sharp_s(text)]))
    return list(dict.fromkeys(normalize(form, change(text)) for form in FORMS for change in CASES))


def build_search(lookups: Iterable[str], text: str) -> Q:
    """Return the condition that one of the lookups finds a text in one of its spellings."""
    return reduce(or_, (Q(**{lookup: one}) for lookup in lookups for one in list_spellings(text)))
