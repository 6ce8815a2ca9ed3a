"""The page of the API in a real browser, under the strict CSP."""

from tests.support.api_clients import API
from tests.support.browser import AsPerson, as_person, browser  # noqa: F401


def test_a_signed_in_person_reads_and_tries_the_api_without_a_console_or_csp_error(as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("admin")
    page.goto(f"{API}/docs/")
    page.click("text=/api/v1/sources/{slug}/sync/")
    page.click("#operations-environment-usage-environment_usage_list .opblock-summary")
    page.wait_for_selector("text=Begins the half-open range of stopped_at")
    page.click("text=Try it out")
    page.click("#operations-environment-usage-environment_usage_list .execute")
    page.wait_for_selector("text=next_cursor")
