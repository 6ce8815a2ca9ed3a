"""The navigation: each person sees the pages that they may open, and which one is open."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from unittest.mock import patch
from urllib.parse import urljoin

import mdurl
import pytest
from django.test import Client
from django.urls import reverse

from portal import navigation
from portal.documentation import convert_markdown, render_markdown
from tests.support.users import sign_in_as

pytestmark = pytest.mark.django_db


def list_links(client: Client, address: str = "/admin/") -> dict[str, str]:
    """Return the links of the navigation on a page: {address: what it says of itself}."""
    page = client.get(address).content.decode()
    places = page[page.index('id="places"') : page.index("</nav>")]
    return dict(re.findall(r'<a href="([^"]+)"(?: aria-current="(\w+)")?>', places))


@pytest.mark.parametrize("role", ["viewer", "operator", "administrator", "admin"])
def test_every_link_opens_for_whoever_sees_it(role: str) -> None:
    client = sign_in_as(role)

    for address in list_links(client):
        assert client.get(address, follow=True).status_code == 200, address


def test_a_viewer_has_no_link_to_tokens_users_or_the_audit_log() -> None:
    urls = list_links(sign_in_as("viewer"))

    assert reverse("admin:usage_environmentusage_changelist") in urls
    assert not {address for address in urls if address.startswith(("/admin/accounts/", "/admin/auth/"))}


def test_the_page_that_is_open_is_marked_and_the_list_it_belongs_to() -> None:
    client = sign_in_as("admin")
    sources, runs = reverse("admin:usage_source_changelist"), reverse("admin:sync_syncrun_changelist")

    assert list_links(client, sources)[sources] == "page"
    assert list_links(client, reverse("admin:usage_source_add"))[sources] == "true"
    assert list_links(client, sources)[runs] == ""
    assert [address for address, mark in list_links(client).items() if mark] == ["/admin/"]


def test_a_page_looks_up_each_address_of_the_navigation_once() -> None:
    client = sign_in_as("admin")
    with patch.object(navigation, "reverse", wraps=reverse) as lookup:
        list_links(client)

    assert lookup.call_count == len(list(navigation.list_pages()))


def test_the_tables_of_one_app_are_not_a_page_of_their_own() -> None:
    response = sign_in_as("admin").get(reverse("admin:app_list", args=["usage"]))

    assert (response.status_code, response["Location"]) == (302, reverse("admin:index"))


def test_a_label_is_the_same_in_the_menu_and_in_the_heading() -> None:
    client = sign_in_as("admin")

    for url_name, label in (
        ("usage_sourceday_changelist", "Source days"),
        ("accounts_apitoken_changelist", "API tokens"),
        ("auth_user_changelist", "Users"),
        ("auth_group_changelist", "Groups"),
        ("sync_syncrun_changelist", "Runs"),
        ("coverage", "Coverage"),
    ):
        page = client.get(reverse(f"admin:{url_name}")).content.decode()
        assert f">{label}</a>" in page, url_name
        assert f"<h1>{label}</h1>" in page, url_name
        assert f'<li aria-current="page">{label}</li>' in page, url_name


def test_every_document_is_a_page_and_its_links_lead_to_pages() -> None:
    client = sign_in_as("viewer")
    index = reverse("admin:document", args=["docs/index.md"])
    visited, queue = set(), [index]

    while queue:
        url = queue.pop()
        page = client.get(url)
        assert page.status_code == 200, url
        assert 'style="' not in page.content.decode(), url  # the content security policy refuses it
        visited.add(url)
        targets = re.findall(r'href="([^":]+\.md)[#"]', page.content.decode().split('class="card document"')[1])
        queue += {urljoin(url, link) for link in targets} - visited - set(queue)

    assert reverse("admin:document", args=["docs/staff-guide.md"]) in visited
    assert reverse("admin:document", args=["README.md"]) in visited
    assert '<h2 id="accept-findings">' in client.get(urljoin(index, "staff-guide.md")).content.decode()


def test_the_path_of_a_document_names_the_documentation_once() -> None:
    client = sign_in_as("viewer")
    trails = [
        re.findall(
            r"<li[^>]*>(?:<a[^>]*>)?([^<]+)", client.get(url).content.decode().split('aria-label="Breadcrumbs"')[1]
        )[:3]
        for url in ("/admin/documentation/docs/index.md", "/admin/documentation/docs/glossary.md")
    ]

    assert trails[0][:2] == ["Overview", "Documentation"]
    assert trails[0].count("Documentation") == 1
    assert trails[1] == ["Overview", "Documentation", "Glossary"]


@pytest.mark.parametrize("path", ["portal/settings.py", "docs/../portal/settings.py", "docs/none.markdown", "docs"])
def test_nothing_but_a_document_is_a_page_of_the_documentation(path: str) -> None:
    assert sign_in_as("viewer").get(f"/admin/documentation/{path}").status_code == 404


def test_the_documentation_is_for_who_is_signed_in() -> None:
    assert Client().get(reverse("admin:document", args=["docs/index.md"])).status_code == 302


def test_many_threads_may_read_the_documentation_at_once() -> None:
    def render(together: Barrier) -> str:
        together.wait()
        return render_markdown("[a](https://example.com/a%20b)")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(200):
                convert_markdown.cache_clear()
                mdurl._encode.encode_cache.clear()  # as in a process that has just begun
                mdurl._decode.decode_cache.clear()
                assert set(pool.map(render, [Barrier(8)] * 8)) == {'<p><a href="https://example.com/a%20b">a</a></p>\n'}
    finally:
        sys.setswitchinterval(interval)
