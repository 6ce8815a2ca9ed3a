"""No page offers what would be refused: every link and every button of every page, followed and pressed as each role."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse
from pytest_django import DjangoDbBlocker

from portal.accounts.models import create_token
from tests.support.database import keep_rows
from tests.support.filled_portal import VendorSources, fill_portal, get_vendor_sources
from tests.support.users import create_person
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db
START = "/admin/"
PREFIX = ("/admin/", "/accounts/")
# Would end the session, or the person's way of signing in.
SKIPPED_PATHS = re.compile(r"/logout/|/accounts/oidc/|/accounts/login/")
PAGES_PER_SHAPE = 2  # pages of the same kind that are opened
# Documents are the same for everybody, and all formats of a file have the same rights.
DOCUMENTS, FILES = re.compile(r"(?<=/documentation/).+"), re.compile(r"/export/")
GET_ATTRIBUTES = ("href", "hx-get")
POST_ATTRIBUTES = ("hx-post", "formaction")
# The tags that `Offered` reads; with all others, a page takes five times as long to parse.
READ_TAGS = re.compile(
    r"</form>|<(?:(?:form|input|button|textarea|select|option)\b|\w+\s[^<>]*?\b(?:href|hx-get|hx-post|formaction)=)[^<>]*>"
)
OPERATOR_PERMISSIONS = re.compile(r"/do/(sync-now|sync-range|read-again|accept|resume)/|/mend/")
ADMINISTRATOR_PERMISSIONS = re.compile(
    r"/(source|apitoken|user|group)/add/|/do/(test|retire|bring-back|revoke|forget-factor)/|/auditentry/|/auth/"
)


@dataclass
class Form:
    """A form of a page: where it goes, and what a browser would send."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    has_button: bool = False  # what someone may only look at is a form without one


class PageParser(HTMLParser):
    """Parses a page: the addresses of its links, and the forms that change something."""

    def __init__(self, page: str, address: str) -> None:
        super().__init__()
        self.address = address
        self.links: list[str] = []
        self.forms: list[Form] = []
        self.open: Form | None = None
        self.select = ""
        self.feed("".join(READ_TAGS.findall(page)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.links += [
            urljoin(self.address, attributes[name]) for name in GET_ATTRIBUTES if name in attributes and tag != "link"
        ]
        self.forms += [
            Form(urljoin(self.address, attributes[name]), has_button=True)
            for name in POST_ATTRIBUTES
            if attributes.get(name)
        ]
        if tag == "form" and attributes.get("method", "").lower() == "post":
            self.open = Form(urljoin(self.address, attributes.get("action", "")))
            self.forms.append(self.open)
        elif tag in {"input", "button", "textarea", "select", "option"} and self.open is not None:
            self.note(tag, attributes)

    def note(self, tag: str, attributes: dict[str, str]) -> None:
        """Add what a field of the open form would send."""
        assert self.open is not None
        kind = attributes.get("type", "submit" if tag == "button" else "")
        self.open.has_button |= kind == "submit"
        if tag == "select":
            self.select = attributes.get("name", "")
        elif tag == "option" and self.select and "selected" in attributes:
            self.open.fields.append((self.select, attributes.get("value", "")))
        elif kind in {"checkbox", "radio"} and "checked" not in attributes:
            return
        elif attributes.get("name") and "disabled" not in attributes and tag != "option":
            self.open.fields.append((attributes["name"], attributes.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.open = None


@dataclass
class Crawl:
    """The status of every address that was opened, and of every form that was sent."""

    statuses_by_link: dict[str, int] = field(default_factory=dict)
    statuses_by_form: dict[str, int] = field(default_factory=dict)
    shapes: Counter[str] = field(default_factory=Counter)

    def crawl(self, client: Client) -> "Crawl":
        """Follow every link from the first page on, and press every button on the way; nothing stays changed."""
        waiting = [START]
        while waiting:
            address = waiting.pop(0)
            page = self.open_page(client, address)
            if page is None:
                continue
            for form in page.forms:
                if form.has_button:
                    self.press(client, form)
            waiting += [link for link in page.links if self.is_new(link)]
        return self

    def is_new(self, link: str) -> bool:
        """Return whether to open a page: it is of this site, and not one of many alike."""
        parts = urlsplit(link)
        if (
            parts.netloc
            or not parts.path.startswith(PREFIX)
            or SKIPPED_PATHS.search(parts.path)
            or link in self.statuses_by_link
        ):
            return False
        shape = re.sub(r"\d+", "0", DOCUMENTS.sub("", parts.path))
        self.shapes[shape] += 1
        return self.shapes[shape] <= (1 if FILES.search(shape) else PAGES_PER_SHAPE)

    def open_page(self, client: Client, address: str) -> PageParser | None:
        """Open an address; returns its links and forms, None where it is no page."""
        response: Any = client.get(address.split("#")[0])
        self.statuses_by_link[address] = response.status_code
        if response.streaming:
            list(response.streaming_content)  # a download is read to its end
            return None
        if response.status_code in {301, 302}:
            return PageParser(f'<a href="{response.url}">', address)
        return PageParser(response.content.decode(), address) if "text/html" in response["Content-Type"] else None

    def press(self, client: Client, form: Form) -> None:
        """Send a form unchanged, and roll back its effect."""
        path = urlsplit(form.action).path
        if SKIPPED_PATHS.search(path) or not path.startswith(PREFIX) or form.action in self.statuses_by_form:
            return
        data: dict[str, list[str]] = {}
        for name, value in form.fields:
            data.setdefault(name, []).append(value)
        with transaction.atomic():
            response: Any = client.post(form.action, data)
            self.statuses_by_form[form.action] = response.status_code
            transaction.set_rollback(True)


@pytest.fixture(scope="module")
def module_rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill a portal for all tests of the module, each of which is rolled back to it."""
    with keep_rows(django_db_blocker):
        portal = fill_portal()
        # Buttons that ask a vendor are told at once that nobody is there.
        Source.objects.update(base_url="http://127.0.0.1:9/")
        create_token("reports", sources=[portal.resources])
        create_token("everything")
        yield


@pytest.fixture
def portal(module_rows: None, db: None) -> VendorSources:
    return get_vendor_sources()


def crawl_as(role: str, **limits: Any) -> Crawl:
    """Crawl every link and form that a person with this role sees."""
    client = Client(raise_request_exception=True)
    client.force_login(create_person(role, **limits))
    return Crawl().crawl(client)


def list_refusals(crawl: Crawl) -> list[str]:
    """Return the links and forms of the pages that answered 403, 404, 405 or 5xx."""
    return [
        f"{status} {verb} {address}"
        for verb, statuses in (("GET", crawl.statuses_by_link), ("POST", crawl.statuses_by_form))
        for address, status in statuses.items()
        if status in {403, 404, 405} or status >= 500
    ]


@pytest.mark.parametrize("role", ["viewer", "operator", "administrator"])
def test_a_person_sees_no_button_or_link_that_would_be_refused(portal: VendorSources, role: str) -> None:
    crawl = crawl_as(role)
    assert not list_refusals(crawl), "\n".join(list_refusals(crawl))
    assert len(crawl.statuses_by_link) > 25, crawl.statuses_by_link
    buttons = " ".join(crawl.statuses_by_form)
    links = " ".join(crawl.statuses_by_link)
    assert bool(OPERATOR_PERMISSIONS.search(buttons)) == (role != "viewer"), buttons
    assert bool(ADMINISTRATOR_PERMISSIONS.search(f"{links} {buttons}")) == (role == "administrator")


@pytest.mark.parametrize("role", ["operator", "administrator"])
def test_a_person_limited_to_a_source_is_offered_nothing_of_another(portal: VendorSources, role: str) -> None:
    crawl = crawl_as(role, sources=[portal.resources])
    assert not list_refusals(crawl), "\n".join(list_refusals(crawl))
    assert not [address for address in crawl.statuses_by_link if "ona-main" in address or "workato-emea" in address]


@pytest.mark.parametrize(
    "rights",
    [
        ("sync.view_syncrun", "usage.view_restatement", "usage.view_rejectedrecord"),
        ("auth.view_user", "auth.add_user"),
    ],
)
def test_a_group_of_few_rights_opens_what_it_is_offered_too(portal: VendorSources, rights: tuple[str, ...]) -> None:
    user = User.objects.create_user("few", is_staff=True)
    user.user_permissions.set(
        Permission.objects.get(content_type__app_label=app, codename=code)
        for app, code in (right.split(".") for right in rights)
    )
    client = Client()
    client.force_login(user)
    assert not list_refusals(Crawl().crawl(client))


def list_admin_pages(patterns: Any = None, before: str = "") -> Iterator[str]:
    """Yield the names of the admin's addresses that take no more than the key of a row."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver) and (not before or path.startswith("admin/")):
            yield from list_admin_pages(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and path.startswith("admin/") and pattern.name:
            yield pattern.name


def test_what_is_not_offered_is_refused_too(portal: VendorSources) -> None:
    """A viewer who knows the addresses of operators and administrators gets nowhere by them."""
    client = Client()
    client.force_login(create_person("viewer"))
    day = SourceDay.objects.get(state="suspect")
    source = portal.resources.pk
    changes = [
        reverse("admin:usage_sourceday_do", args=[day.pk, "read-again"]),
        reverse("admin:usage_sourceday_do", args=[day.pk, "accept"]),
        reverse("admin:usage_source_do", args=[source, "sync-now"]),
        reverse("admin:usage_source_add"),
        reverse("admin:usage_source_change", args=[source]),
        reverse("admin:accounts_apitoken_add"),
        reverse("admin:auth_user_add"),
        reverse("admin:auth_group_add"),
    ]
    for address in changes:
        assert client.post(address).status_code == 403, address
    forbidden_pages = {
        "accounts_apitoken_changelist",
        "accounts_auditentry_changelist",
        "auth_user_changelist",
        "auth_group_changelist",
    }
    for name in sorted(set(list_admin_pages())):
        try:
            address = reverse(f"admin:{name}")
        except NoReverseMatch:
            continue
        status = client.get(address).status_code
        assert status < 500, name
        if name in forbidden_pages or (name.endswith("_add") and name != "reports_report_add"):
            assert status in {403, 405}, (name, status)
