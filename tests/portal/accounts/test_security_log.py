"""The security log: each event with who, from where and in which request, and never a secret."""

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.utils import timezone

from portal.accounts.models import Scope, create_token
from portal.accounts.security_log import SecurityEvent
from portal.logging import log_settings
from tests.portal.accounts.test_oidc import identity as identity
from tests.portal.accounts.test_oidc import sign_in as sign_in_through_provider
from tests.support.api_clients import API, create_api_client
from tests.support.factories import SourceFactory
from tests.support.openid_provider import Identity
from tests.support.users import PASSWORD, compute_totp, create_person, sign_in_as

pytestmark = pytest.mark.django_db
SIGN_IN, LIST = "/accounts/login/", f"{API}/environment-usage/"
WRONG = "a-password-that-is-wrong"
SECRET = "JBSWY3DPEHPK3PXP"
Lines = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """The lines of the portal's own handler of logs, those of the security log or of another logger."""
    log_settings("json", "WARNING")
    [handler] = [item for item in logging.getLogger().handlers if getattr(item, "of_portal", False)]
    stream = StringIO()
    monkeypatch.setattr(handler, "stream", stream)
    monkeypatch.setattr(logging.getLogger("portal.request"), "level", logging.INFO)

    def read(logger: str = "portal.security") -> list[dict[str, Any]]:
        events = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in events if line["logger"] == logger]

    read.text = stream.getvalue  # type: ignore[attr-defined]
    return read


def check_last(lines: Lines, response: Any, event: SecurityEvent, **fields: Any) -> None:
    """Check that the last event of a response is this one, with exactly these fields beside those of every event."""
    line = lines()[-1]
    common = {name: line.pop(name) for name in ("request_id", "address", "timestamp", "level", "logger")}
    assert line == {"event": event, **fields}
    assert common["request_id"] == response["X-Request-Id"]
    assert common["address"] == "127.0.0.1"


def sign_in(client: Any, login: str = "viewer", password: str = PASSWORD) -> Any:
    return client.post(SIGN_IN, {"login": login, "password": password})


def test_a_sign_in_and_a_sign_out(client: Any, lines: Lines) -> None:
    create_person("viewer")
    check_last(lines, sign_in(client), SecurityEvent.SIGNED_IN, user="viewer", methods=["password"])
    check_last(lines, client.post("/accounts/logout/"), SecurityEvent.SIGNED_OUT, user="viewer")


@pytest.mark.parametrize("login", ["viewer", "VIEWER@example.com"])
def test_a_wrong_password_names_the_user_whose_it_is_not(client: Any, lines: Lines, login: str) -> None:
    create_person("viewer")
    response = sign_in(client, login, WRONG)
    check_last(lines, response, SecurityEvent.SIGN_IN_FAILED, user="viewer", reason="wrong_password")


def test_a_name_that_nobody_has_is_not_repeated(client: Any, lines: Lines) -> None:
    """It may be a password that was typed into the wrong field."""
    check_last(lines, sign_in(client, WRONG, WRONG), SecurityEvent.SIGN_IN_FAILED, reason="unknown_user")
    assert WRONG not in lines.text()  # type: ignore[attr-defined]


def test_someone_who_is_switched_off(client: Any, lines: Lines) -> None:
    create_person("viewer")
    User.objects.update(is_active=False)
    check_last(lines, sign_in(client), SecurityEvent.SIGN_IN_FAILED, user="viewer", reason="inactive")


def test_a_lock_out_after_wrong_passwords(client: Any, lines: Lines) -> None:
    create_person("viewer")
    for _ in range(5):
        sign_in(client, password=WRONG)
    check_last(lines, sign_in(client), SecurityEvent.LOCKED_OUT, user="viewer")
    assert [line["event"] for line in lines()] == [SecurityEvent.SIGN_IN_FAILED] * 5 + [SecurityEvent.LOCKED_OUT]


def test_a_second_factor_that_is_used_or_wrong_and_a_lock_out_after_wrong_codes(client: Any, lines: Lines) -> None:
    user = create_person("viewer")
    TOTP.activate(user, SECRET)
    challenge = sign_in(client).url
    wrong_code_response = client.post(challenge, {"code": "000000"})
    check_last(lines, wrong_code_response, SecurityEvent.SECOND_FACTOR_FAILED, user="viewer", factor="totp")
    response = client.post(challenge, {"code": compute_totp(SECRET)})
    check_last(lines, response, SecurityEvent.SIGNED_IN, user="viewer", methods=["password", "second_factor"])
    assert lines()[-2]["event"] == SecurityEvent.SECOND_FACTOR_USED
    assert lines()[-2]["factor"] == "totp"

    second_client: Any = Client()
    sign_in(second_client)
    for _ in range(6):
        refusal = second_client.post(challenge, {"code": "000000"})
    check_last(lines, refusal, SecurityEvent.LOCKED_OUT, user="viewer")
    assert compute_totp(SECRET) not in lines.text()  # type: ignore[attr-defined]
    assert "000000" not in lines.text()  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
def test_a_second_factor_that_is_set_up_renewed_and_removed(lines: Lines) -> None:
    client: Any = Client()
    create_person("viewer")
    sign_in(client)
    response = client.post("/accounts/reauthenticate/", {"password": WRONG})
    check_last(lines, response, SecurityEvent.SIGN_IN_FAILED, user="viewer", reason="wrong_password")
    response = client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    check_last(lines, response, SecurityEvent.REAUTHENTICATED, user="viewer", methods=["password"])
    secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
    client.post("/accounts/2fa/totp/activate/", {"code": compute_totp(secret)})
    added = [line["factor"] for line in lines() if line["event"] == SecurityEvent.SECOND_FACTOR_ADDED]
    assert sorted(added) == ["recovery_codes", "totp"]
    response = client.post("/accounts/2fa/recovery-codes/generate/")
    check_last(lines, response, SecurityEvent.SECOND_FACTOR_RENEWED, user="viewer", factor="recovery_codes")
    codes = RecoveryCodes(Authenticator.objects.get(type="recovery_codes")).get_unused_codes()
    client.post("/accounts/2fa/totp/deactivate/")
    factors = [line["factor"] for line in lines() if line["event"] == SecurityEvent.SECOND_FACTOR_REMOVED]
    assert sorted(factors) == ["recovery_codes", "totp"]
    assert not any(text in lines.text() for text in (secret, *codes))  # type: ignore[attr-defined]


def test_a_password_that_is_changed_or_set_anew(lines: Lines, settings: Any) -> None:
    client: Any = sign_in_as("viewer")
    new = {"password1": "another-good-phrase", "password2": "another-good-phrase"}
    response = client.post("/accounts/password/change/", {"oldpassword": WRONG, **new})
    check_last(lines, response, SecurityEvent.SIGN_IN_FAILED, user="viewer", reason="wrong_password")
    response = client.post("/accounts/password/change/", {"oldpassword": PASSWORD, **new})
    check_last(lines, response, SecurityEvent.PASSWORD_CHANGED, user="viewer")

    settings.PORTAL_EMAIL_URL = "smtp://mail.example.com"
    stranger: Any = Client()
    stranger.post("/accounts/password/reset/", {"email": "viewer@example.com"})
    link = next(word for word in str(mail.outbox[-1].body).split() if "/reset/key/" in word)
    form = stranger.get(link, follow=True).redirect_chain[-1][0]
    response = stranger.post(form, {"password1": "a-third-good-phrase", "password2": "a-third-good-phrase"})
    check_last(lines, response, SecurityEvent.PASSWORD_RESET, user="viewer")
    assert "good-phrase" not in lines.text()  # type: ignore[attr-defined]
    assert link.split("/")[-2] not in lines.text()  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", [LIST, "/mirror/ona-main/api/gitpod.v1.UsageService/ListEnvironmentUsageRecords"])
def test_a_token_that_is_revoked_expired_or_unknown_is_named_by_its_prefix(lines: Lines, path: str) -> None:
    SourceFactory(slug="ona-main", vendor="ona")
    revoked, first = create_token("first", [Scope.USAGE_READ, Scope.MIRROR_READ])
    revoked.revoke()
    expired, second = create_token("second", expires_at=timezone.now() - timedelta(days=1))
    unknown = "up_00000000_" + "x" * 43
    for secret, prefix, reason in (
        (first, revoked.prefix, "revoked"),
        (second, expired.prefix, "expired"),
        (unknown, "up_00000000", "unknown"),
    ):
        response = Client(headers={"Authorization": f"Bearer {secret}"}).post(path)
        assert response.status_code == 401
        check_last(lines, response, SecurityEvent.TOKEN_REFUSED, token=prefix, reason=reason)
        assert secret[len(prefix) + 1 :] not in lines.text()  # type: ignore[attr-defined]


def test_what_is_no_token_is_not_repeated(lines: Lines) -> None:
    response = Client(headers={"Authorization": f"Bearer {WRONG}"}).get(LIST)
    check_last(lines, response, SecurityEvent.TOKEN_REFUSED, reason="unknown")
    assert WRONG not in lines.text()  # type: ignore[attr-defined]


def test_a_permission_that_somebody_lacks(lines: Lines) -> None:
    for path in ("/admin/accounts/auditentry/", "/admin/auth/user/add/"):
        response = sign_in_as("viewer").get(path)
        name = User.objects.latest("pk").username
        check_last(lines, response, SecurityEvent.PERMISSION_REFUSED, user=name, method="GET", path=path)


def test_a_scope_that_a_token_lacks(lines: Lines) -> None:
    client = create_api_client(Scope.SYNC_RUN)
    response = client.get(LIST)
    prefix = lines("portal.request")[-1]["token"]
    assert prefix.startswith("up_")
    check_last(lines, response, SecurityEvent.PERMISSION_REFUSED, token=prefix, method="GET", path=LIST)


@pytest.mark.usefixtures("redis_client")
def test_a_token_and_a_stranger_that_ask_too_often(lines: Lines, settings: Any) -> None:
    token, secret = create_token("busy", rate="1/min")
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    client.get(LIST)
    check_last(lines, client.get(LIST), SecurityEvent.RATE_LIMITED, token=token.prefix, method="GET", path=LIST)
    settings.PORTAL_API_FAILURES_RATE = "1/min"
    guessing = Client(headers={"Authorization": f"Bearer {WRONG}"})
    guessing.get(LIST)
    check_last(lines, guessing.get(LIST), SecurityEvent.RATE_LIMITED, method="GET", path=LIST)


def test_the_line_of_a_request_has_user_or_token_and_address_of_this_request_alone(lines: Lines) -> None:
    token, secret = create_token("reports")
    Client(headers={"Authorization": f"Bearer {secret}"}).get(LIST)
    sign_in_as("viewer").get("/admin/")
    Client().get(SIGN_IN)
    callers = [(line.get("user"), line.get("token"), line["address"]) for line in lines("portal.request")]
    assert callers == [(None, token.prefix, "127.0.0.1"), ("viewer", None, "127.0.0.1"), (None, None, "127.0.0.1")]


def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_saw(lines: Lines, settings: Any) -> None:
    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}
    sign_in(Client(headers=forwarded))
    settings.PORTAL_HTTPS = True
    sign_in(Client(headers=forwarded))
    assert [line["address"] for line in lines()] == ["127.0.0.1", "203.0.113.9"]
    assert [line["address"] for line in lines("portal.request")] == ["127.0.0.1", "203.0.113.9"]


def test_a_request_that_needs_no_user_looks_none_up(django_assert_num_queries: Any) -> None:
    client = sign_in_as("viewer")
    with django_assert_num_queries(0):
        client.get("/health/live")


def test_a_sign_in_through_the_provider_that_succeeds_fails_or_is_refused(
    identity: Identity, lines: Lines, settings: Any
) -> None:
    check_last(lines, sign_in_through_provider(Client()), SecurityEvent.SIGNED_IN, user="sam", methods=["provider"])
    failure_response = Client().get("/accounts/oidc/sso/login/callback/?state=forged&code=c0de")
    line = lines()[-1]
    assert (line["event"], line["methods"], line["error"]) == (SecurityEvent.SIGN_IN_FAILED, ["provider"], "unknown")
    assert line["request_id"] == failure_response["X-Request-Id"]
    settings.PORTAL_OIDC_DOMAINS = ["example.org"]
    response = sign_in_through_provider(Client())
    line = lines()[-2]  # the answer is a 403
    assert (line["event"], line["methods"]) == (SecurityEvent.SIGN_IN_REFUSED, ["provider"])
    assert "example.org" in line["reason"]
    assert line["request_id"] == response["X-Request-Id"]
    assert "c0de" not in lines.text()  # type: ignore[attr-defined]
