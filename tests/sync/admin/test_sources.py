"""Sources on the staff pages: settings that are checked, a credential that is never shown, buttons that work."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db.models import TextField
from django.db.models.functions import Cast
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.accounts.audit.models import AuditEntry, Kind
from sync.admin.forms import SourceForm
from sync.engine.names import request_names
from sync.models import SyncRun, Trigger
from sync.sources import build_source
from tests.support.factories import SourceDayFactory
from tests.support.users import client_of
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
CREDENTIAL = "secret-that-no-page-may-show"
ADD = "/admin/usage/source/add/"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("alex"))
    return client


@pytest.fixture
def source() -> Source:
    source = build_source(slug="ona-main", vendor="ona", credential=CREDENTIAL)
    source.save()
    return source


def sign_in(client: Client, *permissions: str) -> None:
    """Sign someone in who has these permissions and no others."""
    user = User.objects.create_user("sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)


def page_of(source: Source) -> str:
    return reverse("admin:usage_source_change", args=[source.pk])


def action(source: Source, name: str) -> str:
    return reverse("admin:usage_source_do", args=[source.pk, name])


def settings_of(source: Source, **changed: Any) -> dict[str, Any]:
    """What the browser would send for a source whose form was changed so."""
    return {
        "slug": source.slug,
        "vendor": source.vendor,
        "base_url": source.base_url,
        "time_zone": source.time_zone,
        "enabled": "on",
        "backfill_from": source.backfill_from.isoformat(),
        "interval_minutes": 60,
        "look_back_days": 3,
        "max_concurrency": 2,
        "requests_per_minute": "",
        "credential_env": source.credential_env,
        "new_credential": "",
        **changed,
    }


def messages(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def new(**values: Any) -> dict[str, Any]:
    """What the browser would send for a new source with little filled in."""
    blank = Source(slug="one", vendor="ona", backfill_from=timezone.now().date())
    return settings_of(blank, **{"time_zone": "", "new_credential": CREDENTIAL, "backfill_from": "", **values})


def test_a_new_source_takes_from_its_vendor_what_is_left_empty(staff: Client) -> None:
    answer = staff.post(ADD, new(vendor="workato", option_workato_workspace_ids="1, 2"))

    assert answer.status_code == 302
    source = Source.objects.get()
    assert (source.base_url, source.time_zone) == ("https://www.workato.com", "UTC")
    assert (source.requests_per_minute, source.options) == (1000, {"workspace_ids": "1, 2"})
    assert source.credential == CREDENTIAL


@pytest.mark.parametrize(
    ("values", "field", "said"),
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
    staff: Client, values: dict[str, Any], field: str, said: str
) -> None:
    answer = staff.post(ADD, new(**values))

    assert answer.status_code == 200
    assert said in " ".join(answer.context["adminform"].form.errors[field])
    assert CREDENTIAL not in answer.content.decode()
    assert not Source.objects.exists()


def test_the_credential_stays_as_it_is_unless_another_is_given(staff: Client, source: Source) -> None:
    assert staff.post(page_of(source), settings_of(source, look_back_days=5)).status_code == 302
    source.refresh_from_db()
    assert (source.credential, source.look_back_days) == (CREDENTIAL, 5)

    staff.post(page_of(source), settings_of(source, new_credential="another"))
    source.refresh_from_db()
    assert source.credential == "another"


def test_an_edit_writes_no_credential_again_and_undoes_nothing_that_the_engine_did_meanwhile(
    staff: Client, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Source.objects.annotate(kept=Cast("credential", TextField())).values_list("kept", flat=True)
    before, checked = stored.get(), SourceForm.is_valid

    def halted_meanwhile(form: SourceForm) -> bool:
        Source.objects.update(halted_at=timezone.now(), halt_reason="The key is refused.", failures=3)
        return checked(form)

    monkeypatch.setattr(SourceForm, "is_valid", halted_meanwhile)
    sent = settings_of(source, look_back_days=5, option_ona_requests_at_once="3")
    assert staff.post(page_of(source), sent).status_code == 302

    edited = Source.objects.get()
    assert (edited.look_back_days, edited.options) == (5, {"requests_at_once": 3})
    assert edited.updated_at > source.updated_at
    assert (edited.halt_reason, edited.failures) == ("The key is refused.", 3)
    assert stored.get() == before
    assert AuditEntry.objects.filter(kind=Kind.SOURCE).latest("id").changes == {
        "look_back_days": [3, 5],
        "options": [{}, {"requests_at_once": 3}],
    }


@pytest.mark.parametrize("given", [{"base_url": "https://127.0.0.1/api"}, {"vendor": "gcore"}])
def test_a_stored_credential_is_given_again_for_another_address(
    staff: Client, source: Source, settings: Any, given: dict[str, str]
) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*", "app.gitpod.io"]

    answer = staff.post(page_of(source), settings_of(source, **given))

    said = "Enter the credential again, because it is now sent to another address."
    assert answer.context["adminform"].form.errors["new_credential"] == [said]
    assert staff.post(page_of(source), settings_of(source, new_credential="anew", **given)).status_code == 302
    assert staff.post(page_of(source), settings_of(Source.objects.get())).status_code == 302


def test_somebody_limited_to_sources_names_no_variable(source: Source) -> None:
    client = client_of("administrator", sources=[source])
    form = client.get(page_of(source)).context["adminform"].form
    assert "credential_env" not in form.fields

    client.post(page_of(source), settings_of(source, clear_credential="on", credential_env="PORTAL_VENDOR_ANOTHERS"))

    source.refresh_from_db()
    assert (source.credential, source.credential_env) == (CREDENTIAL, "")


def test_the_credential_can_be_forgotten_for_a_variable(staff: Client, source: Source) -> None:
    staff.post(page_of(source), settings_of(source, clear_credential="on", credential_env="PORTAL_VENDOR_ONA"))

    source.refresh_from_db()
    assert (source.credential, source.credential_env) == ("", "PORTAL_VENDOR_ONA")


def test_no_page_and_no_history_shows_the_credential(staff: Client, source: Source) -> None:
    staff.post(page_of(source), settings_of(source, new_credential=CREDENTIAL + "-2"))
    staff.post(page_of(source), settings_of(source, slug=""))
    addresses = [page_of(source), f"{page_of(source)[:-7]}history/", "/admin/usage/source/", "/admin/"]

    for address in addresses:
        assert CREDENTIAL not in staff.get(address).content.decode(), address
    assert not any(CREDENTIAL in entry.change_message + entry.object_repr for entry in LogEntry.objects.all())


def test_vendor_and_zone_cannot_be_changed_once_days_are_held(staff: Client, source: Source) -> None:
    SourceDayFactory(source=source, loaded_at=timezone.now())

    staff.post(page_of(source), settings_of(source, vendor="gcore", time_zone="Asia/Tokyo"))

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
    staff.post(ADD, new(option_ona_requests_at_once="3", option_gcore_page_size="50"))

    assert Source.objects.get().options == {"requests_at_once": 3}


def test_stored_settings_of_a_vendor_are_shown_and_can_be_emptied(staff: Client, source: Source) -> None:
    Source.objects.update(vendor="workato", base_url="https://www.workato.com", options={"workspace_ids": [7, 8]})
    source.refresh_from_db()
    SourceDayFactory(source=source, loaded_at=timezone.now())
    page = staff.get(page_of(source)).content.decode()
    assert 'value="7, 8"' in page
    assert "option_ona" not in page  # it stays the other vendor's

    assert staff.post(page_of(source), settings_of(source)).status_code == 302

    source.refresh_from_db()
    assert source.options == {}


def test_every_setting_says_what_it_is_for(staff: Client) -> None:
    form = staff.get(ADD).context["adminform"].form

    assert [name for name in form.fields if not form.fields[name].help_text] == []


def test_enter_in_a_setting_saves_it_and_does_not_test_the_connection(staff: Client, source: Source) -> None:
    for address in (ADD, page_of(source)):
        page = staff.get(address).content.decode()
        # The first button of a form in the page's order is the one that Enter presses.
        buttons = re.findall(r'<(?:input|button) type="submit" form="source_form"[^>]*>', page)
        assert 'name="_save"' in buttons[0], address
        assert "formaction" in buttons[1], address


def test_a_range_is_synced_with_both_of_its_days(staff: Client, source: Source) -> None:
    last = timezone.now().date() - timedelta(days=10)
    first = last - timedelta(days=2)

    answer = staff.post(action(source, "sync-range"), {"first": first, "last": last}, follow=True)

    run = SyncRun.objects.get()
    assert (run.from_day, run.to_day, run.days_total) == (first, last + timedelta(days=1), 3)
    assert (run.trigger, run.requested_by) == (Trigger.ADMIN, "alex")
    assert messages(answer) == ["3 days of ona-main will be synced, starting now."]
    page = answer.content.decode()
    assert "0 of 3 days" in page
    assert f'hx-get="{page_of(source)[:-7]}progress/?runs={run.pk}&amp;said={run.pk}-0"' in page


def test_a_run_of_names_speaks_of_no_days(staff: Client, source: Source) -> None:
    run = request_names(source, Trigger.ADMIN)
    SyncRun.objects.filter(pk=run.pk).update(finished_at=timezone.now(), days_done=1)

    for url in ("/admin/sync/syncrun/", f"/admin/sync/syncrun/{run.pk}/change/"):
        page = staff.get(url).content.decode()
        assert "Names" in page
        assert "1 of 1 days" not in page
        assert "Days of the run" not in page


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"first": "2026-01-02", "last": "2026-01-01"}, "The first day, 2 Jan 2026, is after the last, 1 Jan 2026."),
        ({"first": "", "last": "2026-01-01"}, "From: This field is required."),
        ({"first": "2026-01-01", "last": "2999-01-01"}, "The last day is in the future"),
        ({"first": "2026-01-01", "last": "9999-12-31"}, "The last day is in the future"),
        ({"first": "0001-01-01", "last": "0001-01-02"}, "The range begins too early: 1990-01-01"),
        ({"first": "1989-12-31", "last": "1990-01-02"}, "The range begins too early: 1990-01-01"),
    ],
)
def test_a_range_that_cannot_be_read_is_refused_in_words(staff: Client, source: Source, given, said: str) -> None:
    answer = staff.post(action(source, "sync-range"), given, follow=True)

    assert messages(answer)[0].startswith(said)
    assert not SyncRun.objects.exists()


def test_sync_now_reads_the_look_back_and_today(staff: Client, source: Source) -> None:
    staff.post(action(source, "sync-now"))

    run = SyncRun.objects.get()
    assert run.days_total == 4
    assert set(SourceDay.objects.values_list("state", flat=True)) == {DayState.DUE}


def test_a_halted_source_says_why_and_can_be_resumed(staff: Client, source: Source) -> None:
    reason = "app.gitpod.io does not accept the credential."
    Source.objects.update(halted_at=timezone.now(), halt_reason=reason, halt_code="credential_rejected")
    page = staff.get(page_of(source)).content.decode()
    assert "app.gitpod.io does not accept the credential." in page
    assert "Make a new key at the vendor, give it to the source under Credential" in page
    assert "Sync now" not in page
    assert staff.post(action(source, "sync-now")).status_code == 403

    staff.post(action(source, "resume"))

    source.refresh_from_db()
    assert (source.halted_at, source.halt_reason) == (None, "")


def test_a_viewer_sees_no_button_that_would_refuse(client: Client, source: Source) -> None:
    sign_in(client, "view_source", "view_sourceday")

    page = client.get(page_of(source)).content.decode()

    assert "/do/" not in page
    assert "/test/" not in page
    assert "new_credential" not in page
    assert CREDENTIAL not in page
    for name in ("sync-now", "sync-range", "resume"):
        assert client.post(action(source, name)).status_code == 403


def test_an_operator_may_sync_but_not_change_the_source(client: Client, source: Source) -> None:
    sign_in(client, "view_source", "change_sourceday")

    offered = set(re.findall(r"/do/([a-z-]+)/", client.get(page_of(source)).content.decode()))

    assert offered == {"sync-now", "sync-range", "read-names"}
    assert client.post(action(source, "sync-now")).status_code == 302
    assert client.post(page_of(source), settings_of(source)).status_code == 403


def test_a_button_is_pressed_and_never_followed(staff: Client, source: Source) -> None:
    assert staff.get(action(source, "sync-now")).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="alex"))
    assert strict.post(action(source, "sync-now")).status_code == 403
    assert not SyncRun.objects.exists()


def test_the_list_tells_the_coverage_of_every_source_in_a_few_queries(
    staff: Client, source: Source, django_assert_num_queries
) -> None:
    source.backfill_from = timezone.now().date() - timedelta(days=3)
    source.save()
    for number in range(3):
        day = source.backfill_from + timedelta(days=number)
        held = {"complete": True, "loaded_at": timezone.now(), "state": DayState.LOADED, "records": 1200}
        SourceDayFactory(source=source, day=day, **(held if number != 1 else {"state": DayState.FAILED}))
    # Who is asking (2), the bounded count, the page, the coverage (2).
    with django_assert_num_queries(6):
        page = staff.get("/admin/usage/source/").content.decode()
    first = source.backfill_from
    assert f"Complete through {first.day} {first:%b %Y}; 2 days provisional; 1 day failed." in page
    assert "2,400" in page


def test_the_page_of_a_source_costs_a_few_queries_however_much_it_holds(
    staff: Client, source: Source, django_assert_num_queries
) -> None:
    for number in range(40):
        day = source.backfill_from + timedelta(days=number)
        SourceDayFactory(source=source, day=day, complete=True, loaded_at=timezone.now(), state=DayState.LOADED)
        run = {"source": source, "trigger": Trigger.SCHEDULE, "from_day": day, "to_day": day + timedelta(days=1)}
        SyncRun.objects.create(**run, days_total=1, days_done=1, finished_at=timezone.now())
    staff.get(page_of(source))

    with django_assert_num_queries(15):
        page = staff.get(page_of(source)).content.decode()

    assert f'<a href="/admin/coverage/?source={source.slug}">' in page


def test_the_calendar_is_linked_for_those_who_may_see_days(client: Client, source: Source) -> None:
    sign_in(client, "view_source")

    assert "/admin/coverage/" not in client.get(page_of(source)).content.decode().split('id="content"')[1]
