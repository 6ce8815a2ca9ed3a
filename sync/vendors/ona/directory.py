"""Ona's names: projects, classes, runners, teams, groups and members of the organization (docs/vendors/ona.md)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec

from sync.errors import CredentialError, RequestRejected
from sync.http import VendorHTTP
from sync.vendors.decoding import decode_answer
from sync.vendors.names import Name, NameListing, get_refusal, read_listing
from usage.models import NameKind

IDENTITY: Final = "/gitpod.v1.IdentityService/GetAuthenticatedIdentity"
MEMBERS: Final = "/gitpod.v1.OrganizationService/ListMembers"
PROJECTS: Final = "/gitpod.v1.ProjectService/ListProjects"
CLASSES: Final = "/gitpod.v1.EnvironmentService/ListEnvironmentClasses"
RUNNERS: Final = "/gitpod.v1.RunnerService/ListRunners"
GROUPS: Final = "/gitpod.v1.GroupService/ListGroups"
MEMBERSHIPS: Final = "/gitpod.v1.GroupService/ListMemberships"
TEAMS: Final = "/gitpod.v1.TeamService/ListTeams"
TEAM_MEMBERS: Final = "/gitpod.v1.TeamService/ListTeamMembers"
PAGE_SIZE: Final = 100
USER: Final = "PRINCIPAL_USER"
T = TypeVar("T")


class Pagination(msgspec.Struct, rename="camel"):
    """Where the next page begins; an empty token ends the listing."""

    next_token: str = ""


class DirectoryPage(msgspec.Struct, rename="camel"):
    """What every page of a listing has beside its rows."""

    pagination: Pagination = msgspec.field(default_factory=Pagination)


class Identity(msgspec.Struct, rename="camel"):
    """The identity that the token belongs to."""

    organization_id: str


class Member(msgspec.Struct, rename="camel"):
    """A member of the organization, or of a team."""

    user_id: str = ""
    full_name: str = ""
    email: str = ""


class Metadata(msgspec.Struct):
    """The part of a project that has its name."""

    name: str = ""


class Project(msgspec.Struct):
    """A project."""

    id: str = ""
    metadata: Metadata = msgspec.field(default_factory=Metadata)


class EnvironmentClass(msgspec.Struct, rename="camel"):
    """A class of environments."""

    id: str = ""
    display_name: str = ""


class Runner(msgspec.Struct, rename="camel"):
    """A runner."""

    runner_id: str = ""
    name: str = ""


class TeamOrGroup(msgspec.Struct):
    """A team or a group."""

    id: str = ""
    name: str = ""


class Principal(msgspec.Struct):
    """A member of a group; not every principal is a user."""

    id: str = ""
    principal: str = ""


class Membership(msgspec.Struct):
    """That a subject is in a group."""

    subject: Principal = msgspec.field(default_factory=Principal)


class DirectoryReader:
    """Reads the listings page by page."""

    def __init__(self, http: VendorHTTP) -> None:
        self.http = http

    def read(self) -> Iterator[NameListing]:
        yield read_listing(NameKind.PROJECT, self.read_projects)
        yield read_listing(NameKind.ENVIRONMENT_CLASS, self.read_classes)
        yield read_listing(NameKind.RUNNER, self.read_runners)
        yield read_listing(NameKind.USER, self.read_users)
        yield self.add_members(read_listing(NameKind.TEAM, self.read_teams), self.list_team_members)
        yield self.add_members(read_listing(NameKind.GROUP, self.read_groups), self.list_group_members)

    def read_projects(self) -> Iterator[Name]:
        return (Name(row.id, row.metadata.name) for row in self.list_rows(PROJECTS, "projects", Project))

    def read_classes(self) -> Iterator[Name]:
        rows = self.list_rows(CLASSES, "environment_classes", EnvironmentClass)
        return (Name(row.id, row.display_name) for row in rows)

    def read_runners(self) -> Iterator[Name]:
        return (Name(row.runner_id, row.name) for row in self.list_rows(RUNNERS, "runners", Runner))

    def read_users(self) -> Iterator[Name]:
        """Yield the members of the token's organization."""
        organization = self.fetch(IDENTITY, Identity, {}).organization_id
        rows = self.list_rows(MEMBERS, "members", Member, organizationId=organization)
        return (Name(row.user_id, row.full_name, row.email) for row in rows)

    def read_teams(self) -> Iterator[Name]:
        return (Name(row.id, row.name) for row in self.list_rows(TEAMS, "teams", TeamOrGroup))

    def read_groups(self) -> Iterator[Name]:
        return (Name(row.id, row.name) for row in self.list_rows(GROUPS, "groups", TeamOrGroup))

    def list_team_members(self, team_id: str) -> list[str]:
        return [row.user_id for row in self.list_rows(TEAM_MEMBERS, "members", Member, teamId=team_id)]

    def list_group_members(self, group_id: str) -> list[str]:
        rows = self.list_rows(MEMBERSHIPS, "members", Membership, groupId=group_id)
        return [row.subject.id for row in rows if row.subject.principal == USER]

    def add_members(self, listing: NameListing, list_members: Callable[[str], list[str]]) -> NameListing:
        if listing.refused:
            return listing
        try:
            members = {name.vendor_id: list_members(name.vendor_id) for name in listing.names}
            return replace(listing, members=members)
        except (CredentialError, RequestRejected) as error:
            return replace(listing, members_refused=get_refusal(error))

    def list_rows(self, path: str, field: str, row_type: type[T], **params: str) -> Iterator[T]:
        """Yield the rows that the pages of a listing have in `field`; raises InvalidResponse for one without an end."""
        rows: tuple[str, Any, Any] = (field, list[row_type], [])  # type: ignore[valid-type]
        page_type = msgspec.defstruct("Page", [rows], bases=(DirectoryPage,), rename="camel")
        token, tokens = "", set[str]()
        while True:
            page: Any = self.fetch(path, page_type, {**params, "pagination": build_pagination(token)})
            yield from getattr(page, field)
            token = page.pagination.next_token
            if not token:
                return
            if token in tokens:
                raise self.http.build_invalid_response(f"{path} does not end: it gave a page token twice.", b"")
            tokens.add(token)

    def fetch(self, path: str, answer_type: type[T], params: Mapping[str, Any]) -> T:
        """Return one answer; raises InvalidResponse where it is of another shape."""
        body = self.http.post(path, msgspec.json.encode(params))
        expected = f"an answer of {path.rpartition('/')[2]}"
        return decode_answer(self.http, msgspec.json.Decoder(answer_type).decode, body, expected)


def build_pagination(token: str) -> dict[str, Any]:
    """Return the part of a request that names the page."""
    return {"pageSize": PAGE_SIZE, "token": token} if token else {"pageSize": PAGE_SIZE}
