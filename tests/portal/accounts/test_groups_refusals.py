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
from tests.support.filled_portal import Filled, fill, find_filled
from tests.support.users import person
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db
START = "/admin/"
HERE = ("/admin/", "/accounts/")
# Would end the session, or the person's way of signing in.
LEFT_ALONE = re.compile(r"/logout/|/accounts/oidc/|/accounts/login/")
OF_ONE_SHAPE = 2  # pages of the same kind that are opened
# Documents are the same for everybody, and all formats of a file have the same rights.
DOCUMENTS, FILES = re.compile(r"(?<=/documentation/).+"), re.compile(r"/export/")
ASKED_BY = ("href", "hx-get")
PRESSED_BY = ("hx-post", "formaction")
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


class Offered(HTMLParser):
    """Reads a page: the addresses it links to, and the forms that change something."""

    def __init__(self, page: str, address: str) -> None:
        super().__init__()
        self.address = address
        self.links: list[str] = []
        self.forms: list[Form] = []
        self.open: Form | None = None
        self.select = ""
        self.feed("".join(READ_TAGS.findall(page)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.links += [urljoin(self.address, given[name]) for name in ASKED_BY if name in given and tag != "link"]
        self.forms += [
            Form(urljoin(self.address, given[name]), has_button=True) for name in PRESSED_BY if given.get(name)
        ]
        if tag == "form" and given.get("method", "").lower() == "post":
            self.open = Form(urljoin(self.address, given.get("action", "")))
            self.forms.append(self.open)
        elif tag in {"input", "button", "textarea", "select", "option"} and self.open is not None:
            self.note(tag, given)

    def note(self, tag: str, given: dict[str, str]) -> None:
        """Add what a field of the open form would send."""
        assert self.open is not None
        kind = given.get("type", "submit" if tag == "button" else "")
        self.open.has_button |= kind == "submit"
        if tag == "select":
            self.select = given.get("name", "")
        elif tag == "option" and self.select and "selected" in given:
            self.open.fields.append((self.select, given.get("value", "")))
        elif kind in {"checkbox", "radio"} and "checked" not in given:
            return
        elif given.get("name") and "disabled" not in given and tag != "option":
            self.open.fields.append((given["name"], given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.open = None


@dataclass
class Crawl:
    """What someone came to see: the status of every address, and of every button pressed."""

    opened: dict[str, int] = field(default_factory=dict)
    pressed: dict[str, int] = field(default_factory=dict)
    shapes: Counter[str] = field(default_factory=Counter)

    def everything(self, client: Client) -> "Crawl":
        """Follow every link from the first page on, and press every button on the way; nothing stays changed."""
        waiting = [START]
        while waiting:
            address = waiting.pop(0)
            offered = self.open_page(client, address)
            if offered is None:
                continue
            for form in offered.forms:
                if form.has_button:
                    self.press(client, form)
            waiting += [link for link in offered.links if self.is_new(link)]
        return self

    def is_new(self, link: str) -> bool:
        """Return whether a page is worth opening: of this site, and not one of many of its kind."""
        parts = urlsplit(link)
        if parts.netloc or not parts.path.startswith(HERE) or LEFT_ALONE.search(parts.path) or link in self.opened:
            return False
        shape = re.sub(r"\d+", "0", DOCUMENTS.sub("", parts.path))
        self.shapes[shape] += 1
        return self.shapes[shape] <= (1 if FILES.search(shape) else OF_ONE_SHAPE)

    def open_page(self, client: Client, address: str) -> Offered | None:
        """Open a page; returns what it offers, None for one that is no page."""
        answer: Any = client.get(address.split("#")[0])
        self.opened[address] = answer.status_code
        if answer.streaming:
            list(answer.streaming_content)  # a download is read to its end
            return None
        if answer.status_code in {301, 302}:
            return Offered(f'<a href="{answer.url}">', address)
        return Offered(answer.content.decode(), address) if "text/html" in answer["Content-Type"] else None

    def press(self, client: Client, form: Form) -> None:
        """Send a form as it stands, and take back what it did."""
        path = urlsplit(form.action).path
        if LEFT_ALONE.search(path) or not path.startswith(HERE) or form.action in self.pressed:
            return
        data: dict[str, list[str]] = {}
        for name, value in form.fields:
            data.setdefault(name, []).append(value)
        with transaction.atomic():
            answer: Any = client.post(form.action, data)
            self.pressed[form.action] = answer.status_code
            transaction.set_rollback(True)


@pytest.fixture(scope="module")
def rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill a portal for all tests of the module, each of which is rolled back to it."""
    with keep_rows(django_db_blocker):
        made = fill()
        # Buttons that ask a vendor are told at once that nobody is there.
        Source.objects.update(base_url="http://127.0.0.1:9/")
        create_token("reports", sources=[made.resources])
        create_token("everything")
        yield


@pytest.fixture
def filled(rows: None, db: None) -> Filled:
    return find_filled()


def crawled(role: str, **limits: Any) -> Crawl:
    """Crawl all that a person of a role is offered."""
    client = Client(raise_request_exception=True)
    client.force_login(person(role, **limits))
    return Crawl().everything(client)


def refused(crawl: Crawl) -> list[str]:
    """Return what was offered and then refused, or did not exist, or broke."""
    return [
        f"{status} {verb} {address}"
        for verb, answers in (("GET", crawl.opened), ("POST", crawl.pressed))
        for address, status in answers.items()
        if status in {403, 404, 405} or status >= 500
    ]


@pytest.mark.parametrize("role", ["viewer", "operator", "administrator"])
def test_a_person_sees_no_button_or_link_that_would_be_refused(filled: Filled, role: str) -> None:
    crawl = crawled(role)
    assert not refused(crawl), "\n".join(refused(crawl))
    assert len(crawl.opened) > 25, crawl.opened
    buttons = " ".join(crawl.pressed)
    links = " ".join(crawl.opened)
    assert bool(OPERATOR_PERMISSIONS.search(buttons)) == (role != "viewer"), buttons
    assert bool(ADMINISTRATOR_PERMISSIONS.search(f"{links} {buttons}")) == (role == "administrator")


@pytest.mark.parametrize("role", ["operator", "administrator"])
def test_a_person_limited_to_a_source_is_offered_nothing_of_another(filled: Filled, role: str) -> None:
    crawl = crawled(role, sources=[filled.resources])
    assert not refused(crawl), "\n".join(refused(crawl))
    assert not [address for address in crawl.opened if "ona-main" in address or "workato-emea" in address]


@pytest.mark.parametrize(
    "rights",
    [
        ("sync.view_syncrun", "usage.view_restatement", "usage.view_rejectedrecord"),
        ("auth.view_user", "auth.add_user"),
    ],
)
def test_a_group_of_few_rights_opens_what_it_is_offered_too(filled: Filled, rights: tuple[str, ...]) -> None:
    someone = User.objects.create_user("few", is_staff=True)
    someone.user_permissions.set(
        Permission.objects.get(content_type__app_label=app, codename=code)
        for app, code in (right.split(".") for right in rights)
    )
    client = Client()
    client.force_login(someone)
    assert not refused(Crawl().everything(client))


def admin_pages(patterns: Any = None, before: str = "") -> Iterator[str]:
    """Yield the names of the admin's addresses that take no more than the key of a row."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver) and (not before or here.startswith("admin/")):
            yield from admin_pages(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern) and here.startswith("admin/") and pattern.name:
            yield pattern.name


def test_what_is_not_offered_is_refused_too(filled: Filled) -> None:
    """A viewer who knows the addresses of operators and administrators gets nowhere by them."""
    client = Client()
    client.force_login(person("viewer"))
    day = SourceDay.objects.get(state="suspect")
    source = filled.resources.pk
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
    hidden = {
        "accounts_apitoken_changelist",
        "accounts_auditentry_changelist",
        "auth_user_changelist",
        "auth_group_changelist",
    }
    for name in sorted(set(admin_pages())):
        try:
            address = reverse(f"admin:{name}")
        except NoReverseMatch:
            continue
        status = client.get(address).status_code
        assert status < 500, name
        if name in hidden or (name.endswith("_add") and name != "reports_report_add"):
            assert status in {403, 405}, (name, status)
