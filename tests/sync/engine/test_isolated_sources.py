"""A source with a broken configuration stops no tick, page, command or start for the other sources."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from portal.health.readiness import find_unready
from sync.engine.connect import get_credential, open_reader
from sync.engine.load import load_next
from sync.engine.plan import plan_due, plan_now, plan_source, resume
from sync.errors import CredentialError, ErrorCode, SourceMisconfigured, SyncError
from sync.models import SyncRun, Trigger
from tests.support.api_clients import create_api_client
from tests.support.scripted_vendor import Listing, build_run, make_source
from tests.support.users import PASSWORD, create_person, sign_in_as
from usage.days import get_today
from usage.fields import LockedText
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
CIPHERTEXT = Fernet(Fernet.generate_key()).encrypt(b"secret").decode()
FAULTS = {
    "a credential that no key opens": {"credential": CIPHERTEXT},
    "a zone that does not exist": {"time_zone": "Mars/Olympus"},
    "a zone that is a folder": {"time_zone": "America"},
    "a vendor that is unknown": {"vendor": "nowhere"},
    "options that are a list": {"options": "[1, 2]"},
}
HALTING = list(FAULTS)[:3]


def spoil(source: Source, fault: str) -> None:
    """Store a fault as no form would, past the trigger that keeps vendor and zone as they are."""
    ((column, value),) = FAULTS[fault].items()
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"UPDATE usage_source SET {column} = %s WHERE id = %s", [value, source.pk])
        cursor.execute("RESET session_replication_role")


@pytest.fixture
def good(listing: Listing) -> Source:
    listing.records[get_today(ZoneInfo("UTC"))] = [build_run(1, on=get_today(ZoneInfo("UTC")))]
    return make_source("good", vendor="ona", backfill_from=get_today(ZoneInfo("UTC")))


@pytest.fixture
def bad(db: None) -> Source:
    # Its name comes first, so that whatever it breaks is broken before the other's turn.
    return make_source("bad", vendor="ona", backfill_from=get_today(ZoneInfo("UTC")))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_tick_plans_every_other_source(bad: Source, good: Source, fault: str) -> None:
    spoil(bad, fault)

    plan_due()

    assert SyncRun.objects.filter(source=good).exists()
    assert load_next(good.pk).outcome == "loaded"


@pytest.mark.parametrize("fault", HALTING)
def test_the_source_is_halted_by_the_first_tick_with_what_to_do(bad: Source, good: Source, fault: str) -> None:
    spoil(bad, fault)

    plan_due()

    reason = Source.objects.get(slug="bad").halt_reason
    assert "resume the source" in reason
    assert ("PORTAL_ENCRYPTION_KEYS" in reason) == ("credential" in fault)
    assert CIPHERTEXT not in reason
    assert Source.objects.get(slug="good").halted_at is None


@pytest.mark.parametrize("fault", HALTING)
def test_the_source_is_halted_by_the_first_worker_that_takes_a_day_of_it(
    bad: Source, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    plan_source(bad.pk)
    spoil(bad, fault)

    attempt = load_next(bad.pk)

    assert attempt is not None
    assert attempt.outcome == "failed"
    assert Source.objects.get().halt_reason == attempt.error == SourceDay.objects.get().error
    assert SourceDay.objects.get().state == DayState.DUE


@pytest.mark.parametrize("fault", ["a vendor that is unknown", "options that are a list"])
def test_a_day_says_which_vendor_or_options_cannot_be_read(bad: Source, fault: str) -> None:
    plan_source(bad.pk)
    spoil(bad, fault)

    attempt = load_next(bad.pk)

    assert attempt is not None
    assert "Unexpected" not in attempt.error
    assert ("nowhere" if "vendor" in fault else "options of bad") in attempt.error


@pytest.mark.parametrize("variable", ["HOME", "PATH", "DATABASE_PASSWORD", "SECRET_KEY"])
def test_a_variable_that_holds_no_vendors_credential_is_never_sent(
    bad: Source, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "not-for-the-vendor")
    Source.objects.update(credential="", credential_env=variable)

    with pytest.raises(SourceMisconfigured, match=f"{variable} does not begin with PORTAL_VENDOR_"):
        open_reader(Source.objects.get()).__enter__()


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("", "one has no credential; set one, or the name of a variable that holds it."),
        ("PORTAL_VENDOR_UNSET", "The environment variable PORTAL_VENDOR_UNSET is not set where the worker runs."),
    ],
)
def test_a_source_without_a_credential_says_what_is_missing(variable: str, reason: str) -> None:
    with pytest.raises(CredentialError) as error:
        get_credential(Source(slug="one", credential_env=variable))
    assert (error.value.reason, error.value.code) == (reason, ErrorCode.CREDENTIAL_MISSING)


def test_a_setting_names_another_prefix(bad: Source, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PORTAL_CREDENTIAL_PREFIX = "USAGE_KEY_"
    monkeypatch.setenv("USAGE_KEY_ONA", "for-the-vendor")
    Source.objects.update(
        vendor="ona", base_url="https://app.ona.com/api", credential="", credential_env="USAGE_KEY_ONA"
    )

    with open_reader(Source.objects.get()):
        pass


@pytest.mark.parametrize("fault", HALTING)
def test_a_person_who_asks_for_the_source_is_told_what_to_do(bad: Source, fault: str) -> None:
    spoil(bad, fault)

    with pytest.raises(SyncError, match="resume the source"):
        plan_now(Source.objects.get(), Trigger.ADMIN)


def test_an_unforeseen_fault_of_one_source_is_counted_on_it_and_the_others_are_planned(
    bad: Source, good: Source
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; "
            "CREATE TRIGGER refuse BEFORE INSERT ON usage_sourceday FOR EACH ROW "
            f"WHEN (NEW.source_id = {bad.pk}) EXECUTE FUNCTION refuse()"
        )

    plan_due()

    assert Source.objects.get(slug="bad").failures == 1
    assert SyncRun.objects.get().source == good


def test_a_source_is_read_again_once_its_key_is_there_and_a_person_resumes_it(
    bad: Source, listing: Listing, settings: Any
) -> None:
    old = Fernet.generate_key().decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_source SET credential = %s", [Fernet(old).encrypt(b"secret").decode()])
    plan_due()
    assert Source.objects.get().halted_at is not None

    settings.PORTAL_ENCRYPTION_KEYS = [*settings.PORTAL_ENCRYPTION_KEYS, old]
    resume(Source.objects.get())
    plan_due()

    assert load_next(bad.pk).outcome == "loaded"
    assert Source.objects.get().credential == "secret"


def test_what_is_locked_is_shown_to_nobody_and_kept_as_it_is(bad: Source) -> None:
    spoil(bad, "a credential that no key opens")
    source = Source.objects.get()
    assert isinstance(source.credential, LockedText)
    assert CIPHERTEXT not in f"{source.credential!r} {source.credential}"

    source.look_back_days = 9
    source.full_clean()
    source.save()

    with connection.cursor() as cursor:
        cursor.execute("SELECT credential, look_back_days FROM usage_source")
        assert cursor.fetchall() == [(CIPHERTEXT, 9)]
    with pytest.raises(SourceMisconfigured), open_reader(source):
        pass


def list_pages(sources: list[Source]) -> list[str]:
    """Return the addresses of pages that show sources, of all and of each of these."""
    lists = ["source", "sourceday", "environmentusage", "rejectedrecord", "restatement"]
    return [
        reverse("admin:index"),
        *(reverse(f"admin:usage_{name}_changelist") for name in lists),
        reverse("admin:sync_syncrun_changelist"),
        *(reverse("admin:usage_source_change", args=[source.pk]) for source in sources),
        reverse("admin:coverage"),
        *(f"{reverse('admin:coverage')}?source={source.slug}" for source in sources),
        reverse("admin:explore"),
        reverse("admin:accounts_apitoken_add"),
    ]


def list_addresses(sources: list[Source]) -> list[str]:
    """Return the addresses of the API that show sources, of all and of each of these."""
    return [
        *("sources/", "sync-runs/", "rejected-records/", "restatements/", "environment-usage/"),
        *("environment-usage/?format=csv", "environment-usage/summary/", "usage/summary/"),
        *(f"sources/{source.slug}/{part}" for source in sources for part in ("", "days/")),
    ]


def test_every_page_and_every_address_of_the_api_opens(good: Source) -> None:
    today = get_today(ZoneInfo("UTC"))
    spoilt = [make_source(f"bad-{number}", vendor="ona", backfill_from=today) for number in range(len(FAULTS))]
    plan_due()
    load_next(good.pk)
    for source, fault in zip(spoilt, FAULTS, strict=True):
        spoil(source, fault)
    staff, program = sign_in_as("admin"), create_api_client()

    for address in list_pages(spoilt):
        assert staff.get(address, follow=True).status_code == 200, address
    for address in list_addresses(spoilt):
        response = program.get(f"/api/v1/{address}")
        assert (response.status_code, bool(response.getvalue())) == (200, True), address


def test_a_new_credential_in_the_form_replaces_one_that_no_key_opens(bad: Source) -> None:
    Source.objects.update(vendor="ona", base_url="https://app.gitpod.io/api")
    spoil(bad, "a credential that no key opens")
    staff = sign_in_as("admin")
    address = reverse("admin:usage_source_change", args=[bad.pk])
    form = staff.get(address).context["adminform"].form
    fields = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    values = {name: value for name, value in fields.items() if value not in (None, False)}

    assert staff.post(address, values | {"look_back_days": 5}).status_code == 302
    assert isinstance(Source.objects.get().credential, LockedText)
    assert staff.post(address, values | {"new_credential": "another"}).status_code == 302
    assert Source.objects.get().credential == "another"


def test_check_names_the_sources_that_cannot_be_read_and_no_secret(bad: Source, good: Source) -> None:
    spoil(bad, "a credential that no key opens")
    output = StringIO()

    call_command("check", stderr=output, stdout=output)

    text = output.getvalue()
    assert "(portal.W014) The source bad cannot be read." in text
    assert "PORTAL_ENCRYPTION_KEYS" in text
    assert "The source good" not in text
    assert CIPHERTEXT not in text


@pytest.mark.django_db(transaction=True)
def test_the_portal_is_ready_as_long_as_one_stored_credential_opens(bad: Source, good: Source) -> None:
    spoil(bad, "a credential that no key opens")
    assert find_unready() == []

    spoil(good, "a credential that no key opens")
    assert find_unready() == ["PORTAL_ENCRYPTION_KEYS opens none of the stored credentials."]

    Source.objects.update(credential="", credential_env="PORTAL_VENDOR_ONA")
    assert find_unready() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", HALTING)
def test_the_sync_command_reads_the_others_and_names_the_one(bad: Source, good: Source, fault: str) -> None:
    spoil(bad, fault)

    with pytest.raises(CommandError, match=r"^bad: .*resume the source"):
        call_command("sync")

    assert SourceDay.objects.get(source=good).state == DayState.DUE, "today is not over"
    assert SourceDay.objects.get(source=good).loaded_at is not None
    assert Source.objects.get(slug="bad").halted_at is not None


def test_a_second_factor_that_no_key_opens_tells_its_owner_and_keeps_out_nobody_else() -> None:
    owner, _ = create_person("viewer"), create_person("operator")
    Authenticator.objects.create(user=owner, type="totp", data={"secret": CIPHERTEXT})

    client = Client()
    client.post("/accounts/login/", {"login": "viewer", "password": PASSWORD})
    response = client.post("/accounts/2fa/authenticate/", {"code": "123456"})

    assert response.status_code == 200
    assert "Ask an administrator to remove it" in response.content.decode()
    assert Client().post("/accounts/login/", {"login": "operator", "password": PASSWORD}).status_code == 302
    assert sign_in_as("admin").get(reverse("admin:auth_user_changelist")).status_code == 200


def test_a_pause_of_the_source_lasts_by_the_databases_clock(good: Source) -> None:
    Source.objects.update(paused_until=datetime.now(UTC) + timedelta(hours=1))
    plan_due()
    assert load_next(good.pk) is None
