r"""Several values of one parameter: it may repeat, a comma separates, and `~none` stands for no value.

A backslash before a comma, a backslash, a tilde or white space stands for that character; any other for itself.
So `a\,b` is one value with a comma, and `\~none` the text `~none`. Spaces around a value are left out.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

NO_VALUE: Final = "~none"
SIGN: Final = re.compile(r"\\[,\\~\s]|.", re.DOTALL)
ESCAPED: Final = re.compile(r"\\([,\\~\s])")
SPECIAL: Final = re.compile(r"[,\\]|~(?=none\Z)|\A\s|\s\Z")


def split_values(text: str) -> list[str]:
    """Return the values of a parameter's text, each as it is written."""
    values: list[list[str]] = [[]]
    for sign in SIGN.findall(text):
        if sign == ",":
            values.append([])
        elif values[-1] or not sign.isspace():
            values[-1].append(sign)
    for signs in values:
        while signs and signs[-1].isspace():
            signs.pop()
    return ["".join(signs) for signs in values]


def parse_value(text: str) -> str | None:
    """Return the value of a text, None for no value."""
    return None if text == NO_VALUE else ESCAPED.sub(r"\1", text)


def write_value(value: str | None) -> str:
    """Return a value as a parameter has it, so that it is read as just this value."""
    return NO_VALUE if value is None else SPECIAL.sub(r"\\\g<0>", value)


def write_tag(key: str, value: str | None) -> str:
    """Return a tag, `key:value`, as a parameter has it."""
    return f"{write_value(f'{key}:')}{NO_VALUE}" if value is None else write_value(f"{key}:{value}")


def parse_count(text: str, most: int) -> int:
    """Return a whole number from 1 to `most`; raises ValueError that names the allowed numbers."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most:
        return int(text)
    raise ValueError(f"“{text}” is not a whole number from 1 to {most}.")


def join_values(values: Iterable[str | None]) -> str:
    """Return values as one parameter has them."""
    return ",".join(map(write_value, values))


def list_texts(params: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a parameter, one for each time that it occurs."""
    if hasattr(params, "getlist"):
        return list(params.getlist(name))
    return [params[name]] if name in params else []


def list_values(params: Mapping[str, Any], name: str) -> list[str]:
    """Return all values of a parameter without a meaning for `~none`, which is plain text here."""
    return [parse_value(part) or part for text in list_texts(params, name) for part in split_values(text)]


def merge_texts(texts: list[str]) -> str:
    """Return the texts of a repeated parameter as one text with the same values."""
    if len(texts) == 1:
        return ",".join(split_values(texts[0]))  # as it is written
    return join_values(parse_value(value) for text in texts for value in split_values(text))
