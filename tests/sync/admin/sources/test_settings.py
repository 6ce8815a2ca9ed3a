"""Sources on the staff pages: settings that are checked, a credential that is never shown, buttons that work."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import TextField
from django.db.models.functions import Cast
from django.test import Client
from django.utils import timezone

from portal.accounts.audit.models import AuditEntry, ObjectKind
from sync.admin.forms import SourceForm
from tests.support.factories import SourceDayFactory
from tests.support.source_pages import ADD, CREDENTIAL, build_form, build_new_form, get_page_url
from tests.support.users import sign_in_as
from usage.models import Source

pytestmark = pytest.mark.django_db


def test_a_new_source_takes_from_its_vendor_what_is_left_empty(staff: Client) -> None:
    response = staff.post(ADD, build_new_form(vendor="workato", option_workato_workspace_ids="1, 2"))

    assert response.status_code == 302
    source = Source.objects.get()
    assert (source.base_url, source.time_zone) == ("https://www.workato.com", "UTC")
    assert (source.requests_per_minute, source.options) == (1000, {"workspace_ids": "1, 2"})
    assert source.credential == CREDENTIAL


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"base_url": "https://evil.example"}, "base_url", "evil.example is not one of this vendor's hosts"),
        ({"base_url": "http://app.ona.com/api"}, "base_url", "only spoken to over https"),
        ({"vendor": "gcore", "time_zone": "Europe/Berlin"}, "time_zone", "Days of Gcore are days of UTC."),
        ({"option_ona_requests_at_once": "5"}, "option_ona_requests_at_once", "less than or equal to 4"),
        ({"vendor": "gcore", "option_gcore_page_size": "many"}, "option_gcore_page_size", "Enter a whole number."),
        (
            {"vendor": "workato", "option_workato_workspace_ids": "one"},
            "option_workato_workspace_ids",
            "Numbers with commas between them are allowed.",
        ),
        (
            {"vendor": "workato", "option_workato_workspace_ids": "1", "option_workato_external_ids": "a"},
            "option_workato_workspace_ids",
            "Give workspace_ids or external_ids, not both.",
        ),
        ({"new_credential": ""}, "new_credential", "Give either the credential or the name"),
        ({"credential_env": "PORTAL_VENDOR_ONE"}, "new_credential", "Give either the credential or the name"),
        ({"credential_env": "HOME", "new_credential": ""}, "credential_env", "HOME does not begin with PORTAL_VENDOR_"),
        ({"backfill_from": "1999-01-01"}, "backfill_from", "A day from "),
        ({"vendor": "acme"}, "vendor", "Select a valid choice"),
    ],
)
def test_a_wrong_setting_is_refused_beside_its_field(
    staff: Client, values: dict[str, Any], field: str, message: str
) -> None:
    response = staff.post(ADD, build_new_form(**values))

    assert response.status_code == 200
    assert message in " ".join(response.context["adminform"].form.errors[field])
    assert CREDENTIAL not in response.content.decode()
    assert not Source.objects.exists()


@pytest.mark.parametrize("number", [44_641, 2**31 - 1, 10**12, 10**30])
def test_a_number_beyond_the_calendar_is_refused_beside_its_field(staff: Client, source: Source, number: int) -> None:
    before = (source.interval_minutes, source.look_back_days)
    numbers = {
        "interval_minutes": number,
        "look_back_days": number,
        "max_concurrency": 10**12,
        "requests_per_minute": 10**12,
    }

    response = staff.post(get_page_url(source), build_form(source, **numbers))

    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert errors["interval_minutes"] == ["Ensure this value is less than or equal to 44640."]
    assert errors["look_back_days"] == ["Ensure this value is less than or equal to 3650."]
    assert errors.keys() == numbers.keys()
    source.refresh_from_db()
    assert (source.interval_minutes, source.look_back_days) == before


def test_the_credential_stays_as_it_is_unless_another_is_given(staff: Client, source: Source) -> None:
    assert staff.post(get_page_url(source), build_form(source, look_back_days=5)).status_code == 302
    source.refresh_from_db()
    assert (source.credential, source.look_back_days) == (CREDENTIAL, 5)

    staff.post(get_page_url(source), build_form(source, new_credential="another"))
    source.refresh_from_db()
    assert source.credential == "another"


def test_an_edit_writes_no_credential_again_and_undoes_nothing_that_the_engine_did_meanwhile(
    staff: Client, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Source.objects.annotate(stored_text=Cast("credential", TextField())).values_list("stored_text", flat=True)
    before, is_valid = stored.get(), SourceForm.is_valid

    def halt_and_validate(form: SourceForm) -> bool:
        Source.objects.update(halted_at=timezone.now(), halt_reason="The key is refused.", failures=3)
        return is_valid(form)

    monkeypatch.setattr(SourceForm, "is_valid", halt_and_validate)
    form_data = build_form(source, look_back_days=5, option_ona_requests_at_once="3")
    assert staff.post(get_page_url(source), form_data).status_code == 302

    source_after = Source.objects.get()
    assert (source_after.look_back_days, source_after.options) == (5, {"requests_at_once": 3})
    assert source_after.updated_at > source.updated_at
    assert (source_after.halt_reason, source_after.failures) == ("The key is refused.", 3)
    assert stored.get() == before
    assert AuditEntry.objects.filter(kind=ObjectKind.SOURCE).latest("id").changes == {
        "look_back_days": [3, 5],
        "options": [{}, {"requests_at_once": 3}],
    }


@pytest.mark.parametrize("changes", [{"base_url": "https://127.0.0.1/api"}, {"vendor": "gcore"}])
def test_a_stored_credential_is_given_again_for_another_address(
    staff: Client, source: Source, settings: Any, changes: dict[str, str]
) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*", "app.gitpod.io"]

    response = staff.post(get_page_url(source), build_form(source, **changes))

    message = "Enter the credential again, because it is now sent to another address."
    assert response.context["adminform"].form.errors["new_credential"] == [message]
    assert staff.post(get_page_url(source), build_form(source, new_credential="anew", **changes)).status_code == 302
    assert staff.post(get_page_url(source), build_form(Source.objects.get())).status_code == 302


def test_somebody_limited_to_sources_names_no_variable(source: Source) -> None:
    client = sign_in_as("administrator", sources=[source])
    form = client.get(get_page_url(source)).context["adminform"].form
    assert "credential_env" not in form.fields

    client.post(
        get_page_url(source), build_form(source, clear_credential="on", credential_env="PORTAL_VENDOR_ANOTHERS")
    )

    source.refresh_from_db()
    assert (source.credential, source.credential_env) == (CREDENTIAL, "")


def test_the_credential_can_be_forgotten_for_a_variable(staff: Client, source: Source) -> None:
    staff.post(get_page_url(source), build_form(source, clear_credential="on", credential_env="PORTAL_VENDOR_ONA"))

    source.refresh_from_db()
    assert (source.credential, source.credential_env) == ("", "PORTAL_VENDOR_ONA")


def test_no_page_and_no_history_shows_the_credential(staff: Client, source: Source) -> None:
    staff.post(get_page_url(source), build_form(source, new_credential=CREDENTIAL + "-2"))
    staff.post(get_page_url(source), build_form(source, slug=""))
    addresses = [get_page_url(source), f"{get_page_url(source)[:-7]}history/", "/admin/usage/source/", "/admin/"]

    for address in addresses:
        assert CREDENTIAL not in staff.get(address).content.decode(), address
    assert not any(CREDENTIAL in entry.change_message + entry.object_repr for entry in LogEntry.objects.all())


def test_a_source_with_archived_days_keeps_its_name(staff: Client, source: Source) -> None:
    fields = {
        "state": "loaded",
        "loaded_at": timezone.now(),
        "pruned_at": timezone.now(),
        "archived_at": timezone.now(),
    }
    SourceDayFactory(source=source, **fields)

    response = staff.post(get_page_url(source), build_form(source, slug="renamed"))

    assert "Days of this source are archived" in response.content.decode()
    source.refresh_from_db()
    assert source.slug == "ona-main"


def test_vendor_and_zone_cannot_be_changed_once_days_are_held(staff: Client, source: Source) -> None:
    SourceDayFactory(source=source, loaded_at=timezone.now())

    staff.post(get_page_url(source), build_form(source, vendor="gcore", time_zone="Asia/Tokyo"))

    source.refresh_from_db()
    assert (source.vendor, source.time_zone) == ("ona", "UTC")


def test_a_vendors_own_settings_are_fields_with_what_they_mean(staff: Client) -> None:
    page = staff.get(ADD).content.decode().replace("&#x27;", "'")

    for title in ("Ona options", "Gcore options", "Workato options"):
        assert title in page
    assert "The customer workspaces to read: numbers with commas between them." in page
    assert "How many resources one request asks for." in page
    assert "Empty: 1000." in page


def test_only_the_chosen_vendors_settings_are_kept(staff: Client) -> None:
    staff.post(ADD, build_new_form(option_ona_requests_at_once="3", option_gcore_page_size="50"))

    assert Source.objects.get().options == {"requests_at_once": 3}


def test_stored_settings_of_a_vendor_are_shown_and_can_be_emptied(staff: Client, source: Source) -> None:
    Source.objects.update(vendor="workato", base_url="https://www.workato.com", options={"workspace_ids": [7, 8]})
    source.refresh_from_db()
    SourceDayFactory(source=source, loaded_at=timezone.now())
    page = staff.get(get_page_url(source)).content.decode()
    assert 'value="7, 8"' in page
    assert "option_ona" not in page  # it stays the other vendor's

    assert staff.post(get_page_url(source), build_form(source)).status_code == 302

    source.refresh_from_db()
    assert source.options == {}


def test_every_setting_says_what_it_is_for(staff: Client) -> None:
    form = staff.get(ADD).context["adminform"].form

    assert [name for name in form.fields if not form.fields[name].help_text] == []


def test_enter_in_a_setting_saves_it_and_does_not_test_the_connection(staff: Client, source: Source) -> None:
    for address in (ADD, get_page_url(source)):
        page = staff.get(address).content.decode()
        # The first button of a form in the page's order is the one that Enter presses.
        buttons = re.findall(r'<(?:input|button) type="submit" form="source_form"[^>]*>', page)
        assert 'name="_save"' in buttons[0], address
        assert "formaction" in buttons[1], address
