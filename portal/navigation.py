"""The navigation of the staff's site: its pages, and which of them a person may open."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse


@dataclass(frozen=True, slots=True)
class SitePage:
    """A page of the navigation: any of `permissions` opens it; without permissions, it is open to all."""

    label: str
    url_name: str
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PageGroup:
    """Pages under a menu."""

    label: str
    pages: tuple[SitePage, ...]


USAGE_VIEWS = ("usage.view_environmentusage", "usage.view_resourceusage", "usage.view_recipeusage")
NAVIGATION: tuple[SitePage | PageGroup, ...] = (
    SitePage("Overview", "admin:index"),
    SitePage("Explore", "admin:explore", USAGE_VIEWS),
    SitePage("Coverage", "admin:coverage", ("usage.view_sourceday",)),
    PageGroup(
        "Usage",
        (
            SitePage("Environment usage", "admin:usage_environmentusage_changelist", ("usage.view_environmentusage",)),
            SitePage("Resource usage", "admin:usage_resourceusage_changelist", ("usage.view_resourceusage",)),
            SitePage("Recipe usage", "admin:usage_recipeusage_changelist", ("usage.view_recipeusage",)),
            SitePage("Reports", "admin:reports_report_changelist", ("reports.view_report",)),
            SitePage("Saved views", "admin:explore_views", ("usage.view_savedview",)),
            SitePage("Notes", "admin:usage_note_changelist", ("usage.view_note",)),
            SitePage("Names", "admin:usage_directoryentry_changelist", ("usage.view_directoryentry",)),
        ),
    ),
    SitePage("Sources", "admin:usage_source_changelist", ("usage.view_source",)),
    PageGroup(
        "Alerts",
        (
            SitePage("Incidents", "admin:incidents_incident_changelist", ("incidents.view_incident",)),
            SitePage("Channels", "admin:incidents_channel_changelist", ("incidents.view_channel",)),
        ),
    ),
    PageGroup(
        "Sync",
        (
            SitePage("Source days", "admin:usage_sourceday_changelist", ("usage.view_sourceday",)),
            SitePage("Runs", "admin:sync_syncrun_changelist", ("sync.view_syncrun",)),
            SitePage("Restatements", "admin:usage_restatement_changelist", ("usage.view_restatement",)),
            SitePage("Rejected records", "admin:usage_rejectedrecord_changelist", ("usage.view_rejectedrecord",)),
        ),
    ),
    PageGroup(
        "Access",
        (
            SitePage("API tokens", "admin:accounts_apitoken_changelist", ("accounts.view_apitoken",)),
            SitePage("Users", "admin:auth_user_changelist", ("auth.view_user",)),
            SitePage("Groups", "admin:auth_group_changelist", ("auth.view_group",)),
            SitePage("Audit log", "admin:accounts_auditentry_changelist", ("accounts.view_auditentry",)),
        ),
    ),
    PageGroup("Help", (SitePage("Documentation", "admin:documentation"), SitePage("API", "api:docs"))),
)


@dataclass(frozen=True, slots=True)
class MenuLink:
    """A link of the navigation; `current` is its `aria-current`, '' for a page that is not shown."""

    label: str
    url: str
    current: str


@dataclass(frozen=True, slots=True)
class Menu:
    """The links of a menu; a page without a menu is alone in a menu without a label."""

    label: str
    links: Sequence[MenuLink]

    @property
    def current(self) -> bool:
        """Whether the page that is shown is among these."""
        return any(link.current for link in self.links)


def build_navigation(request: HttpRequest) -> list[Menu]:
    """Return the menus with the pages that this person may open."""
    if not request.user.is_staff:
        return []
    urls = {page: reverse(page.url_name) for page in list_pages()}
    menus = []
    for entry in NAVIGATION:
        pages = entry.pages if isinstance(entry, PageGroup) else (entry,)
        links = [build_link(request.path, page, urls) for page in pages if can_open(request, page)]
        if links:
            menus.append(Menu(entry.label if isinstance(entry, PageGroup) else "", links))
    return menus


def list_pages() -> Iterator[SitePage]:
    """Yield all pages of the navigation."""
    for entry in NAVIGATION:
        yield from entry.pages if isinstance(entry, PageGroup) else (entry,)


def can_open(request: HttpRequest, page: SitePage) -> bool:
    """Return whether this person may open a page."""
    return not page.permissions or any(request.user.has_perm(code) for code in page.permissions)


def build_link(path: str, page: SitePage, urls: Mapping[SitePage, str]) -> MenuLink:
    """Return the link to a page, marked where the path is its own or below it; `urls` has those of all pages."""
    url = urls[page]
    is_below = path not in urls.values() and page.url_name != "admin:index" and path.startswith(url)
    return MenuLink(page.label, url, "page" if path == url else "true" if is_below else "")
