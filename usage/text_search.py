"""Search by a part of a name: vendors send accented characters in either Unicode normal form."""

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
    """Return a text with ß for each ss, where it stays long enough to search for."""
    shorter = re.sub("ss", "ß", text, flags=re.IGNORECASE)
    return shorter if len(shorter) >= MIN_LETTERS else text


# PostgreSQL ignores case, but under some locales of ASCII only; folding also makes ss of ß.
CASES: Final[tuple[Callable[[str], str], ...]] = (str, str.casefold, str.upper, write_sharp_s)


def list_spellings(text: str) -> list[str]:
    """Return the texts to search for, which find a text in any case, in both normal forms, and with ss or ß."""
    if text.isascii():
        return list(dict.fromkeys([text, write_sharp_s(text)]))
    return list(dict.fromkeys(normalize(form, change(text)) for form in FORMS for change in CASES))


def build_search(lookups: Iterable[str], text: str) -> Q:
    """Return the condition that one of the lookups finds a text in one of its spellings."""
    return reduce(or_, (Q(**{lookup: spelling}) for lookup in lookups for spelling in list_spellings(text)))
