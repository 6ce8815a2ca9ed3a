"""The page of the API in a real browser, under the strict CSP."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support import chromium
from tests.support.api_clients import API

chromium.needed()
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_signed_in_person_reads_and_tries_the_api_without_a_console_or_csp_error(live_server) -> None:
    person = User.objects.create_superuser("alex")
    session = Client()
    session.force_login(person)
    cookie = {"name": "sessionid", "value": session.cookies["sessionid"].value, "url": live_server.url}
    with chromium.browser() as running:
        context = running.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies([cookie])  # type: ignore[list-item]
        page = context.new_page()
        faults = chromium.watch(page)
        page.goto(f"{live_server.url}{API}/docs/")
        page.click("text=/api/v1/sources/{slug}/sync/")
        page.click("#operations-environment-usage-environment_usage_list .opblock-summary")
        page.wait_for_selector("text=Begins the half-open range of stopped_at")
        page.click("text=Try it out")
        page.click("#operations-environment-usage-environment_usage_list .execute")
        page.wait_for_selector("text=next_cursor")
        context.close()
    assert faults == []
