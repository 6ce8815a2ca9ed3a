"""Signing in, people, groups, tokens and the audit log in a real browser."""

# ruff: noqa: F811 (the fixtures that come from tests.support.browser are asked for by their names)
from typing import Any

from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import override_settings
from playwright.sync_api import Browser, Page

from portal.accounts.audit.models import AuditEntry
from portal.accounts.models import create_token
from tests.portal.accounts.test_oidc import build_settings
from tests.support import chromium
from tests.support.browser import SIZES, AsPerson, as_person, browser, check_page  # noqa: F401
from tests.support.openid_provider import run_provider
from tests.support.users import PASSWORD, compute_totp, create_person
from usage.models import Source


def stranger(browser: Browser, address: str, **look: Any) -> tuple[Page, list[str]]:
    """Return the page of somebody who has not signed in, and what goes wrong on it."""
    page = browser.new_context(base_url=address, **look).new_page()
    return page, chromium.watch(page)


def test_a_person_signs_in_with_a_second_factor(browser: Browser, live_server: Any) -> None:
    cache.clear()
    create_person("viewer")
    page, faults = stranger(browser, live_server.url, viewport={"width": 1440, "height": 900})
    page.goto("/admin/")
    check_page(page, "sign-in")
    page.fill("#id_username", "viewer@example.com")
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    page.wait_for_url("**/admin/")

    page.goto("/accounts/2fa/totp/activate/")
    check_page(page, "is-it-you")
    page.fill("input[type=password]", PASSWORD)
    page.press("input[type=password]", "Enter")
    page.wait_for_selector("#authenticator_secret")
    check_page(page, "second-factor")
    page.fill("#id_code", compute_totp(page.input_value("#authenticator_secret")))
    page.press("#id_code", "Enter")
    page.wait_for_selector("text=recovery codes")
    check_page(page, "recovery-codes")
    page.goto("/accounts/2fa/")
    check_page(page, "second-factors")
    page.goto("/accounts/password/change/")
    check_page(page, "password-change")

    page.context.clear_cookies()
    cache.clear()
    page.goto("/accounts/login/")
    page.fill("#id_username", "viewer")
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    page.wait_for_selector("#id_code")
    check_page(page, "second-factor-asked")
    assert faults == []
    page.context.close()


def test_a_person_comes_in_through_the_provider_and_is_told_whom_to_ask(browser: Browser, live_server: Any) -> None:
    cache.clear()
    with run_provider(email="sam@example.com", email_verified=True, preferred_username="sam") as identity:
        with override_settings(**build_settings(identity)):
            page, faults = stranger(browser, live_server.url)
            page.goto("/admin/")
            check_page(page, "sign-in-provider", SIZES[:1])
            page.click("text=Sign in with Example ID")
            page.wait_for_selector("text=You have no access yet")
            check_page(page, "no-rights", SIZES[:1])
            assert [fault for fault in faults if "403" not in fault] == []
            page.context.close()


def test_an_administrator_invites_somebody_who_sets_their_password(
    as_person: AsPerson, browser: Browser, live_server: Any
) -> None:
    Source.objects.create(
        slug="gcore-main", vendor="gcore", base_url="https://api.gcore.com", backfill_from="2026-01-01"
    )
    page = as_person("administrator")
    page.goto("/admin/auth/user/")
    page.click("text=Add user")
    page.wait_for_selector("#id_username")
    check_page(page, "person-new")
    page.fill("#id_username", "pat")
    page.fill("#id_email", "pat@example.com")
    page.get_by_label("operator").check()
    page.check("#id_limited")
    page.get_by_label("gcore-main").check()
    page.click("input[name=_save]")
    page.wait_for_selector("#secret")
    check_page(page, "invitation-made")
    link = page.input_value("#secret")
    page.click("text=I have copied it")
    page.wait_for_selector("text=Has not signed in yet.")
    check_page(page, "person")
    assert link not in page.content()

    guest, faults = stranger(browser, live_server.url, viewport={"width": 1440, "height": 900})
    guest.goto(link)
    guest.wait_for_selector("#id_new_password1")
    assert guest.url.endswith("/accounts/invitation/")
    check_page(guest, "invitation")
    guest.fill("#id_new_password1", "tall-green-window-7")
    guest.fill("#id_new_password2", "tall-green-window-7")
    guest.press("#id_new_password2", "Enter")
    guest.wait_for_selector("text=Your password is set.")
    guest.fill("#id_username", "pat")
    guest.fill("#id_password", "tall-green-window-7")
    guest.press("#id_password", "Enter")
    guest.wait_for_url("**/admin/")
    assert faults == []
    guest.goto(link)
    guest.wait_for_selector("text=This link is not valid")
    check_page(guest, "invitation-used")
    guest.context.close()


def test_an_administrator_looks_at_people_and_groups(as_person: AsPerson) -> None:
    Source.objects.create(
        slug="gcore-main", vendor="gcore", base_url="https://api.gcore.com", backfill_from="2026-01-01"
    )
    page = as_person("administrator")
    page.goto("/admin/auth/user/")
    check_page(page, "people", SIZES[:1])

    page.goto("/admin/auth/group/add/")
    page.wait_for_selector("#id_name")
    check_page(page, "group-new", SIZES[:1])
    page.fill("#id_name", "Gcore alone")
    page.click("text=Add another")
    page.get_by_role("checkbox", name="gcore-main").first.check()
    page.click("input[name=_save]")
    page.wait_for_selector("#result_list")
    check_page(page, "groups", SIZES[:1])
    group = Group.objects.get(name="Gcore alone")
    page.goto(f"/admin/auth/group/{group.pk}/change/")
    check_page(page, "group", SIZES[:1])
    page.goto(f"/admin/auth/group/{Group.objects.get(name='operator').pk}/change/")
    check_page(page, "role", SIZES[:1])


def test_an_administrator_makes_copies_and_revokes_a_token(as_person: AsPerson) -> None:
    page = as_person("administrator")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/admin/accounts/apitoken/add/")
    check_page(page, "token-new")
    page.fill("#id_name", "warehouse")
    page.click("input[name=_save]")
    page.wait_for_selector("#secret")
    check_page(page, "token-made")
    secret = page.input_value("#secret")
    page.click("#copy-secret")
    page.wait_for_selector("text=Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.click("text=I have copied it")
    page.wait_for_selector("#result_list")
    check_page(page, "tokens")
    assert secret not in page.content()
    page.click("#result_list tbody tr a")
    page.wait_for_selector("#revoke_sure")
    check_page(page, "token")
    page.check("#revoke_sure")
    page.click("#action-revoke button")
    page.wait_for_selector(".messagelist .success")
    assert "Revoked" in page.inner_text(".field-state")


def test_an_administrator_reads_who_changed_what(as_person: AsPerson) -> None:
    source = Source.objects.create(
        slug="main", vendor="gcore", base_url="https://api.gcore.com", backfill_from="2026-01-01", credential="first"
    )
    create_token("reports", sources=[source])
    source.credential, source.enabled, source.look_back_days = "second", False, 7
    source.save()
    page = as_person("administrator")
    page.goto("/admin/")
    page.goto("/admin/accounts/auditentry/")
    check_page(page, "audit")
    page.goto("/admin/accounts/auditentry/?kind=source")
    page.click("#result_list tbody tr a")
    page.wait_for_selector("text=What changed")
    check_page(page, "audit-entry")
    assert "second" not in page.content()
    assert AuditEntry.objects.filter(kind="source").count() == 2
