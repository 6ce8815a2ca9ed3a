"""`add_source` and the rules of a source: what is stored, what is refused, and with which message."""

from datetime import date

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.utils import timezone

from sync.sources import build_source, find_errors
from sync.vendors import readers
from tests.support.factories import SourceDayFactory
from usage.models import Source

pytestmark = pytest.mark.django_db
NOVEMBER_11 = date(2026, 11, 11)


def add(*arguments: str) -> Source:
    call_command("add_source", "one", *arguments, "--credential-env", "PORTAL_VENDOR_ONE")
    return Source.objects.get(slug="one")


def get_errors(**values: object) -> dict[str, list[str]]:
    """Return the validation messages of a source with these values, by field."""
    with pytest.raises(ValidationError) as exc_info:
        build_source(**{"slug": "one", "vendor": "ona", "credential_env": "PORTAL_VENDOR_ONE", **values})
    return exc_info.value.message_dict


def test_what_is_left_out_comes_from_the_vendor(capsys) -> None:
    source = add("workato", "--option", "workspace_ids=1,2")

    assert source.base_url == "https://www.workato.com"
    assert source.requests_per_minute == 1000
    assert source.time_zone == "UTC"
    assert source.options == {"workspace_ids": "1,2"}
    assert (timezone.now().date() - source.backfill_from).days == 90
    assert "one is added" in capsys.readouterr().out


def test_everything_can_be_given() -> None:
    source = add(
        *("workato", "--base-url", "https://app.eu.workato.com", "--time-zone", "Europe/Berlin"),
        *("--backfill-from", "2026-01-01", "--look-back-days", "5"),
        *("--max-concurrency", "4", "--requests-per-minute", "60"),
    )

    assert source.base_url == "https://app.eu.workato.com"
    assert source.time_zone == "Europe/Berlin"
    assert str(source.backfill_from) == "2026-01-01"
    assert (source.look_back_days, source.max_concurrency, source.requests_per_minute) == (5, 4, 60)


def test_a_refusal_names_the_option_and_what_is_allowed() -> None:
    with pytest.raises(CommandError, match=r"--base-url: evil\.example is not one of this vendor's hosts"):
        add("gcore", "--base-url", "https://evil.example")
    with pytest.raises(CommandError, match=r"no option of Workato\. Allowed: workspace_ids"):
        add("workato", "--option", "workspaces=1")
    assert not Source.objects.exists()


def test_a_slug_is_taken_once() -> None:
    add("ona")
    with pytest.raises(CommandError, match="--slug: Source with this Slug already exists"):
        add("ona")


def test_the_vendors_own_hosts_are_spoken_to_over_https_only() -> None:
    assert "only spoken to over https" in get_errors(base_url="http://app.ona.com/api")["base_url"][0]


def test_the_settings_allow_further_hosts(settings) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:8765"]

    source = build_source(
        slug="one", vendor="ona", credential_env="PORTAL_VENDOR_K", base_url="http://127.0.0.1:8765/ona/api"
    )

    assert source.base_url == "http://127.0.0.1:8765/ona/api"


def test_days_of_a_vendor_with_one_zone_are_of_that_zone() -> None:
    assert get_errors(vendor="gcore", time_zone="Europe/Berlin")["time_zone"] == ["Days of Gcore are days of UTC."]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("vendor", "acme", f"No vendor is named “acme”; there are {', '.join(sorted(readers()))}."),
        ("time_zone", "Mars/Olympus", "“Mars/Olympus” is no time zone; a name such as Europe/Berlin is allowed."),
        ("options", [], 'A JSON object is allowed, such as {} or {"name": "value"}.'),
        ("credential_env", "", "Give either the credential or the name of an environment variable that holds it."),
        ("credential", "both", "Give either the credential or the name of an environment variable that holds it."),
        *(
            ("credential_env", name, f"{name} does not begin with PORTAL_VENDOR_: only such variables are sent")
            for name in (
                "HOME",
                "PATH",
                "SENTRY_DSN",
                "DATABASE_PASSWORD",
                "SECRET_KEY",
                "PORTAL_ENCRYPTION_KEYS",
                "portal_vendor_ona",
                "PORTAL_VENDOR_",
            )
        ),
        ("credential_env", "not a name", "A name of letters, digits and _ is allowed."),
    ],
)
def test_each_rule_tells_what_is_allowed(field: str, value: object, expected: str) -> None:
    messages = [message for field_messages in get_errors(**{field: value}).values() for message in field_messages]

    assert any(expected in message for message in messages), messages


def test_a_credential_fits_into_a_header() -> None:
    messages = get_errors(credential="two\nlines", credential_env="")["credential"]

    assert messages == ["Only printable ASCII characters without line breaks are allowed."]


def test_the_first_day_lies_in_the_last_ten_years() -> None:
    messages = get_errors(backfill_from=timezone.now().date().replace(year=1999))["backfill_from"]

    assert messages[0].startswith("A day from ")


def test_a_first_day_that_is_missing_is_no_wrong_day() -> None:
    source = build_source(slug="one", vendor="ona", credential_env="PORTAL_VENDOR_ONE")
    source.backfill_from = None  # type: ignore[assignment]
    assert find_errors(source) == {}


def test_the_first_day_is_one_of_the_sources_zone() -> None:
    with time_machine.travel("2026-11-10T23:30:00Z", tick=False):
        source = build_source(slug="one", vendor="workato", credential_env="PORTAL_VENDOR_K", time_zone="Asia/Tokyo")
        assert source.backfill_from == date(2026, 8, 13)
        build_source(
            slug="one",
            vendor="workato",
            credential_env="PORTAL_VENDOR_K",
            time_zone="Asia/Tokyo",
            backfill_from=NOVEMBER_11,
        )

        assert "backfill_from" in get_errors(vendor="workato", time_zone="America/New_York", backfill_from=NOVEMBER_11)


def test_vendor_and_zone_stay_once_days_are_held() -> None:
    from sync.sources import find_errors

    source = add("workato")
    SourceDayFactory(source=source, loaded_at=timezone.now())
    source.time_zone, source.vendor, source.base_url = "Europe/Berlin", "ona", "https://app.ona.com/api"

    errors = find_errors(source)

    assert errors["time_zone"].startswith("It stays UTC: days of this source are stored.")
    assert errors["vendor"].startswith("It stays workato")
