"""Whose rights a report has: those of its owner when it is sent, and none once they are lost."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.models import GroupScope
from portal.reports.models import Report
from tests.portal.reports.conftest import get_part, make_report, run
from tests.support.dashboard_data import create_synced_source, get_today
from tests.support.factories import EnvironmentUsageFactory, ResourceUsageFactory
from tests.support.smtp_server import MailServer
from tests.support.users import create_person
from usage.models import DirectoryEntry, NameKind, SavedView, Source

pytestmark = pytest.mark.django_db


def lose_rights(user: User) -> None:
    """Take every role away from somebody."""
    user.groups.clear()


def deactivate(user: User) -> None:
    """Deactivate somebody."""
    User.objects.filter(pk=user.pk).update(is_active=False)


def lose_sources(user: User) -> None:
    """Limit somebody to no source."""
    group = user.groups.create(name="nothing")
    GroupScope.objects.create(group=group)


def lose_source_of_view(user: User) -> None:
    """Limit somebody to another source than the one that their view is of."""
    group = user.groups.create(name="other")
    GroupScope.objects.create(group=group).sources.add(create_synced_source("other", "gcore", days=3))


def delete_view(user: User) -> None:
    """Delete the views of somebody."""
    SavedView.objects.filter(owner=user).delete()


def lose_usage(user: User) -> None:
    """Leave somebody the right to send reports, and none to see usage."""
    user.groups.clear()
    user.user_permissions.add(Permission.objects.get(codename="add_report"))


def fix_range(user: User) -> None:
    """Give the views of somebody dates that stay."""
    SavedView.objects.filter(owner=user).update(moving_range="")


def forbid_domain(user: User) -> None:
    """No longer allow the domain of the only recipient."""
    settings.PORTAL_REPORT_DOMAINS = []


@pytest.mark.parametrize(
    ("lose", "reason"),
    [
        (lose_rights, "Its owner, viewer, may no longer send reports."),
        (deactivate, "Its owner, viewer, is deactivated."),
        (lose_sources, "Its owner, viewer, may no longer see any source."),
        (lose_source_of_view, "The saved view asks for what is not there for viewer any more: source."),
        (lose_usage, "Its owner, viewer, may no longer see this usage."),
        (delete_view, "Its saved view was deleted."),
        (fix_range, "The range of its saved view no longer moves with the calendar."),
        (forbid_domain, "None of its recipients is left"),
    ],
)
def test_a_report_whose_owner_loses_the_rights_stops_and_says_so(
    lose: Any, reason: str, gcore: Source, mail_server: MailServer, settings: Settings
) -> None:
    report = make_report(question="source=gcore-main&group_by=day")
    lose(report.owner)
    run()
    run()
    (mail,) = mail_server.mails
    assert mail["Subject"] == "Usage portal: Usage of the week is stopped"
    assert "viewer@example.com" in mail_server.recipients[0]
    assert reason.split(":")[0] in " ".join(str(mail.get_payload(decode=True).decode()).split())
    stopped_report = Report.objects.get()
    assert stopped_report.stop_reason.startswith(reason)
    assert (stopped_report.next_at, stopped_report.stopped_at is not None) == (None, True)
    assert run(3 * 24 * 60) == 0


def test_a_report_shows_only_the_sources_that_its_owner_sees_by_then(gcore: Source, mail_server: MailServer) -> None:
    hidden_source = create_synced_source("other", "gcore", days=12)
    ResourceUsageFactory.create(
        source=hidden_source, day=get_today(hidden_source) - timedelta(days=1), consumed_quantity=1000
    )
    report = make_report(question="group_by=day")
    group = report.owner.groups.create(name="limited")
    GroupScope.objects.create(group=group).sources.add(gcore)
    assert run() == 1
    text = get_part(mail_server.mails[0], "text/plain").decode()
    assert "Sources: gcore-main." in text
    assert "from 7 records" in text
    assert "1,000" not in text


@pytest.mark.parametrize(("setting", "expected"), [("name", "Ada Lovelace"), ("pseudonym", "Kolibatumi")])
def test_names_of_people_are_sent_while_the_owner_may_see_them_and_as_the_setting_says(
    setting: str, expected: str, mail_server: MailServer, settings: Settings
) -> None:
    settings.PORTAL_PERSON_NAMES = setting
    source = create_synced_source("ona-main", "ona", days=12)
    names = {"name": "Ada Lovelace", "email": "ada@example.com", "pseudonym": "Kolibatumi"}
    DirectoryEntry.objects.create(source=source, kind=NameKind.USER, vendor_id="u-1", **names)
    stopped_at = timezone.now() - timedelta(days=2)
    EnvironmentUsageFactory.create(source=source, user_id="u-1", stopped_at=stopped_at)
    report = make_report(create_person("administrator"), question="group_by=user_id")
    SavedView.objects.update(kind="environment-usage")
    assert run() == 1
    report.owner.groups.set([Group.objects.get(name="operator")])
    assert run(24 * 60) == 1
    for mail, has_name in zip(mail_server.mails, (True, False), strict=True):
        for media_type in ("text/plain", "text/html", "text/csv"):
            content = get_part(mail, media_type).decode()
            assert "u-1" in content
            assert {name: name in content for name in names.values()} == {
                name: has_name and name == expected for name in names.values()
            }


def test_a_shared_view_is_sent_while_it_is_shared(gcore: Source, mail_server: MailServer) -> None:
    owner = create_person("viewer")
    report = make_report(create_person("operator"))
    SavedView.objects.update(owner=owner, shared=True)
    assert run() == 1
    SavedView.objects.update(shared=False)
    run(24 * 60)
    report.refresh_from_db()
    assert report.stop_reason == "Its saved view is no longer shared with operator."
