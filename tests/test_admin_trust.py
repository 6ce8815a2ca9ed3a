"""Days, runs, restatements, rejected records and tokens on the staff pages: read by all, acted on by who may."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.models import ApiToken
from sync.models import SyncRun
from tests.factories import SourceFactory
from tests.filled import CREDENTIAL, Filled, fill
from usage.models import RejectedRecord, Restatement, SourceDay

pytestmark = pytest.mark.django_db
DAYS = "/admin/usage/sourceday/"
REJECTED = "/admin/usage/rejectedrecord/"
TOKENS = "/admin/portal/apitoken/"


@pytest.fixture
def filled() -> Filled:
    return fill()


@pytest.fixture
def staff(client: Client, filled: Filled) -> Client:
    client.force_login(User.objects.create_superuser("alex"))
    return client


def sign_in(client: Client, *permissions: str) -> None:
    """Sign someone in who has these permissions and no others."""
    user = User.objects.create_user("sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)


def messages(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


@pytest.mark.parametrize(
    ("address", "queries"),
    [
        # Who is asking (2), the sources of the filter, the bounded count, the page.
        (DAYS, 5),
        ("/admin/sync/syncrun/", 5),
        (REJECTED, 5),
        ("/admin/usage/restatement/", 5),
        # No source filter.
        (TOKENS, 4),
    ],
)
def test_a_list_costs_the_same_few_queries(
    staff: Client, address: str, queries: int, django_assert_num_queries
) -> None:
    with django_assert_num_queries(queries):
        answer = staff.get(address)

    assert answer.status_code == 200
    assert CREDENTIAL not in answer.content.decode()


@pytest.mark.parametrize("model", [SourceDay, SyncRun, RejectedRecord, Restatement])
def test_what_the_engine_writes_is_shown_and_never_edited(staff: Client, model: Any) -> None:
    meta = model._meta
    for record in model.objects.all():
        page = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[record.pk])
        answer = staff.get(page)
        assert answer.status_code == 200
        assert CREDENTIAL not in answer.content.decode()
    assert staff.post(page, {}).status_code == 403
    assert staff.get(page.replace("change", "delete")).status_code == 403
    assert staff.get(reverse(f"admin:{meta.app_label}_{meta.model_name}_add")).status_code == 403


def test_days_are_filtered_by_source_state_verification_and_range(staff: Client) -> None:
    def found(asked: str) -> int:
        return staff.get(f"{DAYS}?{asked}").context["cl"].result_count

    assert found("source=gcore-main") == 30
    assert found("state=failed") == 1
    assert found("verification=verified") == 60
    assert found("source=ona-main&day__range__gte=2026-10-20&day__range__lte=2026-10-22") == 3


def test_chosen_days_are_read_again(staff: Client) -> None:
    chosen = SourceDay.objects.filter(day="2026-11-01")

    answer = staff.post(DAYS, {"action": "read_again", "_selected_action": [day.pk for day in chosen]}, follow=True)

    assert sorted(messages(answer)) == [
        f"1 day of {slug} will be read, beginning now." for slug in ("gcore-main", "ona-main", "workato-emea")
    ]
    assert set(chosen.values_list("state", flat=True)) == {"due"}
    assert SyncRun.objects.filter(requested_by="alex", days_total=1).count() == 3


def test_the_vendors_word_is_taken_for_suspect_days_only(staff: Client) -> None:
    suspect = SourceDay.objects.get(state="suspect")
    sound = SourceDay.objects.filter(state="loaded").first()
    assert sound is not None

    refused = staff.post(DAYS, {"action": "accept", "_selected_action": [sound.pk]}, follow=True)
    assert messages(refused) == ["None of the chosen days is suspect; there is nothing to accept."]
    assert staff.post(reverse("admin:usage_sourceday_do", args=[sound.pk, "accept"])).status_code == 403

    page = staff.get(f"{DAYS}{suspect.pk}/change/").content.decode()
    assert "Accept what the vendor reports" in page
    assert "&quot;would_withdraw&quot;: 60" in page
    staff.post(reverse("admin:usage_sourceday_do", args=[suspect.pk, "accept"]))
    suspect.refresh_from_db()
    assert (suspect.shrink_accepted, suspect.state) == (True, "due")


def test_a_halted_source_is_named_instead_of_read(staff: Client, filled: Filled) -> None:
    source = filled.resources
    type(source).objects.filter(pk=source.pk).update(halted_at=timezone.now(), halt_reason="401.")
    day = SourceDay.objects.filter(source=source).first()
    assert day is not None

    answer = staff.post(reverse("admin:usage_sourceday_do", args=[day.pk, "read-again"]), follow=True)

    assert messages(answer) == ["gcore-main is halted: 401. Mend that and resume it first."]


def test_a_viewer_is_offered_no_action(client: Client, filled: Filled) -> None:
    sign_in(client, "view_sourceday", "view_rejectedrecord")
    day = SourceDay.objects.get(state="suspect")
    record = RejectedRecord.objects.get()

    for address in (DAYS, REJECTED, f"{DAYS}{day.pk}/change/", f"{REJECTED}{record.pk}/change/"):
        page = client.get(address).content.decode()
        assert not re.search(r'/do/|name="action"', page), address
    assert client.post(reverse("admin:usage_sourceday_do", args=[day.pk, "read-again"])).status_code == 403
    client.post(DAYS, {"action": "read_again", "_selected_action": [day.pk]})
    day.refresh_from_db()
    assert day.state == "suspect"


def test_a_rejected_record_is_shown_as_it_came_and_escaped(staff: Client) -> None:
    record = RejectedRecord.objects.get()

    page = staff.get(f"{REJECTED}{record.pk}/change/").content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_rejected_records_are_told_apart_and_their_day_is_read_again(staff: Client) -> None:
    record = RejectedRecord.objects.get()
    assert staff.get(f"{REJECTED}?status=open").context["cl"].result_count == 1
    assert staff.get(f"{REJECTED}?status=resolved").context["cl"].result_count == 0

    staff.post(REJECTED, {"action": "read_again", "_selected_action": [record.pk]})

    record.source_day.refresh_from_db()
    assert record.source_day.state == "due"


def test_a_run_shows_how_far_it_got(staff: Client) -> None:
    run = SyncRun.objects.get()

    page = staff.get(reverse("admin:sync_syncrun_change", args=[run.pk])).content.decode()

    assert "19 of 30 days · 1 failed" in page
    assert "2026-11-14 failed" in page
    assert "81,234" in page


def test_a_token_is_shown_once_and_revoked_for_good(staff: Client) -> None:
    made = staff.post(f"{TOKENS}add/", {"name": "warehouse", "scopes": ["usage:read", "sync:read"]})
    secret = made.context["secret"]
    token = ApiToken.objects.get()

    assert secret.startswith(token.prefix)
    assert secret in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    for address in (TOKENS, f"{TOKENS}{token.pk}/change/", f"{TOKENS}{token.pk}/history/", "/admin/"):
        assert secret not in staff.get(address).content.decode()
    assert (token.scopes, token.limited, token.created_by) == (
        ["sync:read", "usage:read"],
        False,
        User.objects.get(username="alex"),
    )

    staff.post(reverse("admin:portal_apitoken_do", args=[token.pk, "revoke"]))
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert staff.post(reverse("admin:portal_apitoken_do", args=[token.pk, "revoke"])).status_code == 403


def test_a_token_may_be_limited_to_sources(staff: Client) -> None:
    source = SourceFactory.create()
    asked = {"name": "one", "scopes": ["usage:read"], "limited": "on"}
    refused = staff.post(f"{TOKENS}add/", asked)
    assert "Choose at least one source" in refused.content.decode()

    staff.post(f"{TOKENS}add/", {**asked, "sources": [source.pk]})

    token = ApiToken.objects.get()
    assert token.limited
    assert list(token.sources.all()) == [source]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"name": ""}, "name"),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "expires_at"),
    ],
)
def test_a_token_without_purpose_scope_or_future_is_refused(staff: Client, values: dict[str, Any], field: str) -> None:
    answer = staff.post(f"{TOKENS}add/", {"name": "one", "scopes": ["usage:read"], **values})

    assert field in answer.context["adminform"].form.errors
    assert not ApiToken.objects.exists()


def test_who_may_only_view_tokens_neither_makes_nor_revokes_one(client: Client, filled: Filled) -> None:
    sign_in(client, "view_apitoken")
    token = ApiToken.objects.create(name="one", prefix="up_12345678", digest=b"1" * 32, scopes=["usage:read"])

    assert client.get(f"{TOKENS}add/").status_code == 403
    assert "/do/" not in client.get(f"{TOKENS}{token.pk}/change/").content.decode()
    assert client.post(reverse("admin:portal_apitoken_do", args=[token.pk, "revoke"])).status_code == 403


def test_an_expired_token_says_so(staff: Client) -> None:
    ApiToken.objects.create(
        name="old",
        prefix="up_12345678",
        digest=b"1" * 32,
        scopes=["usage:read"],
        expires_at=timezone.now() - timedelta(days=1),
    )

    assert "Expired" in staff.get(TOKENS).content.decode()
