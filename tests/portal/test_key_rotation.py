"""A key is changed: everything encrypted is locked anew, and sessions and links of the old key stay valid."""

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from allauth.account.forms import default_token_generator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet, InvalidToken
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings

from portal.accounts.audit.models import AuditEntry
from portal.incidents.models import Channel
from tests.support.factories import SourceFactory
from tests.support.users import create_person, sign_in_as
from usage.fields import LockedText, get_cipher
from usage.models import Source

pytestmark = pytest.mark.django_db
OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))
CIPHERTEXT = re.compile(r"gAAAA[\w=-]{60,}")


def rotate(*arguments: str, keys: tuple[str, ...] = (NEW, OLD)) -> str:
    """Run the command with these keys; returns what it says."""
    output = StringIO()
    with override_settings(PORTAL_ENCRYPTION_KEYS=list(keys)):
        call_command("rotate_keys", *arguments, stdout=output)
    return output.getvalue()


def test_without_a_key_nothing_is_encrypted(settings: Any) -> None:
    settings.PORTAL_ENCRYPTION_KEYS = []
    with pytest.raises(ImproperlyConfigured, match="PORTAL_ENCRYPTION_KEYS is empty"):
        get_cipher()


def list_ciphertexts() -> Iterator[str]:
    """Yield everything encrypted in any column of any table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables "
            "USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
            "AND data_type IN ('text', 'character varying', 'jsonb', 'json')"
        )
        for table, column in cursor.fetchall():
            cursor.execute(f'SELECT "{column}"::text FROM "{table}" WHERE "{column}"::text LIKE %s', ["%gAAAA%"])
            for (text,) in cursor.fetchall():
                yield from CIPHERTEXT.findall(text)


def opens(key: str, ciphertext: str) -> bool:
    try:
        Fernet(key).decrypt(ciphertext.encode())
    except InvalidToken:
        return False
    return True


def store_secrets(key: str) -> Any:
    """Store one of every kind of secret, locked with `key`; returns the user of the second factor."""
    user = create_person("viewer")
    with override_settings(PORTAL_ENCRYPTION_KEYS=[key]):
        SourceFactory(slug="ona", credential_env="", credential="token of ona")
        SourceFactory(slug="none")
        Channel.objects.create(name="hook", kind="webhook", url="https://hooks.example.com/1", secret="signs")
        TOTP.activate(user, "JBSWY3DPEHPK3PXP")
        RecoveryCodes.activate(user)
    return user


def test_everything_encrypted_is_locked_with_the_first_key_and_the_old_key_may_go() -> None:
    user = store_secrets(OLD)
    assert len(list(list_ciphertexts())) == 5
    with override_settings(PORTAL_ENCRYPTION_KEYS=[OLD]):
        codes = RecoveryCodes(user.authenticator_set.get(type="recovery_codes")).get_unused_codes()

    preview = rotate()
    assert "source, credential: 0 locked with the first key, 1 locked with an old one, 0 that no key opens" in preview
    assert "Nothing was changed." in preview
    assert all(opens(OLD, text) for text in list_ciphertexts())

    output = rotate("--yes")
    assert "authenticator, data: 0 locked with the first key, 2 locked anew, 0 that no key opens" in output.lower()
    assert "may be removed" in output
    assert [opens(NEW, text) for text in list_ciphertexts()] == [True] * 5
    with override_settings(PORTAL_ENCRYPTION_KEYS=[NEW]):
        assert Source.objects.get(slug="ona").credential == "token of ona"
        channel = Channel.objects.get()
        assert (channel.url, channel.secret) == ("https://hooks.example.com/1", "signs")
        assert TOTP(user.authenticator_set.get(type="totp")).instance.data["secret"]
        assert RecoveryCodes(user.authenticator_set.get(type="recovery_codes")).get_unused_codes() == codes
    assert {"credential"} in [set(entry.changes) for entry in AuditEntry.objects.filter(kind="source")]


def test_a_second_time_changes_nothing() -> None:
    store_secrets(OLD)
    rotate("--yes")
    before, entries = sorted(list_ciphertexts()), AuditEntry.objects.count()
    assert "1 locked with the first key, 0 locked anew" in rotate("--yes")
    assert (sorted(list_ciphertexts()), AuditEntry.objects.count()) == (before, entries)


def test_what_no_key_opens_is_counted_and_left_alone_and_the_others_are_locked_anew() -> None:
    store_secrets(OLD)
    with override_settings(PORTAL_ENCRYPTION_KEYS=[LOST]):
        SourceFactory(slug="lost", credential_env="", credential="token")
    with pytest.raises(CommandError, match="No key opens 1 of these"):
        rotate("--yes")
    assert sorted(opens(NEW, text) for text in list_ciphertexts()) == [False] + [True] * 5
    with override_settings(PORTAL_ENCRYPTION_KEYS=[NEW, LOST]):
        assert Source.objects.get(slug="lost").credential == "token"
    assert isinstance(Source.objects.get(slug="lost").credential, LockedText)


def test_sessions_and_links_survive_a_change_of_the_secret_key() -> None:
    old, new = "o" * 50, "n" * 50
    with override_settings(SECRET_KEY=old):
        client: Client = sign_in_as("viewer")
        user = create_person("operator")
        link = default_token_generator.make_token(user)
    with override_settings(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old]):
        assert client.get("/admin/").status_code == 200
        assert default_token_generator.check_token(user, link)
    with override_settings(SECRET_KEY=new):
        assert client.get("/admin/").status_code == 200  # renewed with the new key by the request before
        assert not default_token_generator.check_token(user, link)
    with override_settings(SECRET_KEY="z" * 50):
        assert client.get("/admin/").status_code == 302
