"""What to do about an error is said for every sentence that the portal writes down of one."""

import pytest

from sync.advice import advice
from sync.http import words

SAID = [
    "The name api.example.com could not be resolved (DNS).",
    "api.example.com refused the connection: nothing listens there.",
    "api.example.com could not be reached in time.",
    "api.example.com did not answer within 45 seconds. Gave up after 6 attempts.",
    "api.example.com broke off the connection before its answer was complete.",
    "No TLS connection to api.example.com came about: it may not speak TLS, or another version of it.",
    *(f"The TLS certificate of api.example.com is not to be trusted: {why}." for why in words.CERTIFICATES.values()),
    "api.example.com does not accept the credential (HTTP 401: Unauthorized).",
    "The credential may not read this at api.example.com (HTTP 403).",
    "api.example.com asks for fewer requests (HTTP 429).",
    "api.example.com cannot answer now (HTTP 503).",
    "api.example.com refused the request (HTTP 404: Not Found).",
    "api.example.com refused the request (HTTP 422: wrong dates).",
    "api.example.com redirects to elsewhere.example: not followed.",
    "evil.example is not one of this vendor's hosts (api.example.com), nor in PORTAL_ALLOWED_VENDOR_HOSTS.",
    "The environment variable ONE_KEY is not set where the worker runs.",
    "The 60 requests a minute of main are used up for now.",
    "Not a usage report: count: missing",
    "A row of usage has none of the known metrics.",
    (
        "from: 2026-10-14T09:00:00Z is not a time of Europe/Berlin, whose offset is then +02:00; "
        "is the source's time zone the account's?"
    ),
    "3 of 200 records were rejected.",
    "Unexpected KeyError while reading; the log has the details.",
    "The worker did not come back before its lease ended.",
]


@pytest.mark.parametrize("sentence", SAID)
def test_every_kind_of_error_has_its_advice(sentence: str) -> None:
    assert advice(sentence).endswith(".")


def test_wrong_and_missing_rights_are_told_apart() -> None:
    assert advice("x does not accept the credential (HTTP 401).") != advice("The credential may not read this at x.")


def test_of_what_needs_nobody_nothing_is_said() -> None:
    assert advice("") == ""
    assert advice("Cancelled by sam; 3 days went back unread.") == ""
