"""Pseudonyms: short artificial names for people's ids, always the same for the same id."""

from hashlib import blake2b
from itertools import product
from typing import Final

SYLLABLES: Final = tuple(map("".join, product("bdfghjklmnprstvz", "aeio")))  # 64, six bits each
LENGTH: Final = 5  # 30 bits: of 1,000 people two share a pseudonym in one of 2,000 directories


def build_pseudonym(vendor_id: str) -> str:
    """Return the pseudonym of an id, e.g. `Kolibatumi`; only the id is unique."""
    bits = int.from_bytes(blake2b(vendor_id.encode(), digest_size=8).digest(), "big")
    places = (bits >> 6 * place & 63 for place in range(LENGTH))
    return "".join(SYLLABLES[place] for place in places).capitalize()
