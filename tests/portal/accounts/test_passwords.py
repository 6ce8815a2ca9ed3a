"""Which passwords are taken: 12 characters at least, and none that is easily guessed."""

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from tests.support.users import PASSWORD


@pytest.mark.parametrize(
    "password",
    [
        "short-phrase",  # the boundary: 12 characters
        "tall-green-window-7",
        "correct horse battery",
        "kQ8#vTz0!mLp",
        PASSWORD,
    ],
)
def test_a_good_password_is_taken(password: str) -> None:
    validate_password(password)


@pytest.mark.parametrize(
    "password",
    [
        "Password2026!",
        "p@ssw0rd2026",
        "2026-Welcome-2026",
        "passwordpassword",
        "MonkeyMonkey1",
        "abcabcabcabc",
        "aaaaaaaaaaaa",
        "123456789012",
        "qwertyuiop12",
        "poiuytrewq21",
        "abcdefghijkl",
        "UsagePortal2026",
        "98!76!54!32!10!",
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(password: str) -> None:
    assert len(password) >= 12
    with pytest.raises(ValidationError, match="easily guessed"):
        validate_password(password)


def test_eleven_characters_are_too_few() -> None:
    with pytest.raises(ValidationError, match="at least 12 characters"):
        validate_password("kQ8#vTz0!mL")


def test_a_password_like_the_users_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="too similar to the username"):
        validate_password("samantha.smith1", User(username="samantha.smith"))
