"""A user is found by a part of a name in either normal form, in any case, and nobody whom the reader may not see."""

import pytest
from django.contrib.auth.models import User

from tests.support.users import sign_in_as

pytestmark = pytest.mark.django_db
COMPOSED, DECOMPOSED = "Ren\u00e9e", "Rene\u0301e"


@pytest.mark.parametrize("text", [COMPOSED, DECOMPOSED, COMPOSED.upper(), "n\u00e9e"])
def test_users_are_found_however_their_accents_are_stored(text: str) -> None:
    for username, name in (("one", COMPOSED), ("two", DECOMPOSED), ("three", "Renate")):
        User.objects.create_user(username, first_name=name)
    page = sign_in_as("admin").get("/admin/auth/user/", {"q": text})
    assert {user.username for user in page.context["cl"].result_list} == {"one", "two"}
