"""What a password must not be: a common password, also between digits and signs, a repetition, or a row of keys."""

import re
from itertools import pairwise

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

ROWS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS = frozenset(
    pair for row in ROWS for pair in ({*pairwise(row), *pairwise(reversed(row))} | {(key, key) for key in row})
)
LARGEST_ROW_SHARE = 0.7
SUBSTITUTES = str.maketrans("@4301!$57", "aaeoiisst")
ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")
REPETITION = re.compile(r"(.+?)\1+")


class GuessablePasswordValidator(CommonPasswordValidator):
    """Django's list of common passwords has few of 12 characters; people lengthen the short passwords.

    So what is left without digits and signs at the ends, with the usual substitutes undone, must not be common either.
    """

    def validate(self, password: str, user: object = None) -> None:
        if is_guessable(password, self.passwords):
            raise ValidationError(
                "This password is easily guessed: it is a common one with something added, a repetition, or a row of "
                "keys. Take several words that do not belong together.",
                code="password_too_common",
            )

    def get_help_text(self) -> str:
        return "Not a common password, also not with digits added, a repetition, or a row of keys."


def is_guessable(password: str, common: set[str]) -> bool:
    """Return whether a password is in `common`, built from a password in it, a repetition, or mostly a row of keys."""
    text = password.lower().strip()
    core = ENDS.sub("", text)
    stems = {text, core, core.translate(SUBSTITUTES), ENDS.sub("", text.translate(SUBSTITUTES))}
    units = stems | {match[1] for stem in stems if (match := REPETITION.fullmatch(stem))}
    near = sum(pair in NEIGHBOURS for pair in pairwise(text))
    return (
        REPETITION.fullmatch(text) is not None
        or not units.isdisjoint(common | {"", "usageportal", "usage-portal"})
        or near > LARGEST_ROW_SHARE * (len(text) - 1)
    )
