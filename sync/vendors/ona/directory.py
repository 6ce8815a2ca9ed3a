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
    """What every page of a listing has."""

    pagination: Pagination = msgspec.field(default_factory=Pagination)


class Identity(msgspec.Struct, rename="camel"):
    """The identity that the token belongs to."""

    organization_id: str


class Member(msgspec.Struct, rename="camel"):
    """A member of the organization, or of a team."""

    user_id: str = ""
    full_name: str = ""
    email: str = ""


class MembersPage(DirectoryPage):
    """A page of members of the organization, or of a team."""

    members: list[Member] = []


class Metadata(msgspec.Struct):
    """The part of a project that has its name."""

    name: str = ""


class Project(msgspec.Struct):
    """A project."""

    id: str = ""
    metadata: Metadata = msgspec.field(default_factory=Metadata)


class ProjectsPage(DirectoryPage):
    """A page of projects."""

    projects: list[Project] = []


class EnvironmentClass(msgspec.Struct, rename="camel"):
    """A class of environments."""

    id: str = ""
    display_name: str = ""


class ClassesPage(DirectoryPage, rename="camel"):
    """A page of classes."""

    environment_classes: list[EnvironmentClass] = []


class Runner(msgspec.Struct, rename="camel"):
    """A runner."""

    runner_id: str = ""
    name: str = ""


class RunnersPage(DirectoryPage):
    """A page of runners."""

    runners: list[Runner] = []


class TeamOrGroup(msgspec.Struct):
    """A team or a group."""

    id: str = ""
    name: str = ""


class TeamsPage(DirectoryPage):
    """A page of teams."""

    teams: list[TeamOrGroup] = []


class GroupsPage(DirectoryPage):
    """A page of groups."""

    groups: list[TeamOrGroup] = []


class Principal(msgspec.Struct):
    """A member of a group; not every principal is a user."""

    id: str = ""
    principal: str = ""


class Membership(msgspec.Struct):
    """That a subject is in a group."""

    subject: Principal = msgspec.field(default_factory=Principal)


class MembershipsPage(DirectoryPage):
    """A page of memberships of a group."""

    members: list[Membership] = []


class DirectoryReader:
    """Reads the listings page by page."""

    def __init__(self, http: VendorHTTP) -> None:
        self.http = http

    def read(self) -> Iterator[NameListing]:
        """Yield every listing."""
        yield read_listing(NameKind.PROJECT, self.read_projects)
        yield read_listing(NameKind.ENVIRONMENT_CLASS, self.read_classes)
        yield read_listing(NameKind.RUNNER, self.read_runners)
        yield read_listing(NameKind.USER, self.read_users)
        yield self.add_members(read_listing(NameKind.TEAM, self.read_teams), self.list_team_members)
        yield self.add_members(read_listing(NameKind.GROUP, self.read_groups), self.list_group_members)

    def read_projects(self) -> Iterator[Name]:
        """Yield the projects."""
        for page in self.paginate(PROJECTS, ProjectsPage):
            yield from (Name(project.id, project.metadata.name) for project in page.projects)

    def read_classes(self) -> Iterator[Name]:
        """Yield the classes of environments."""
        for page in self.paginate(CLASSES, ClassesPage):
            yield from (
                Name(environment_class.id, environment_class.display_name)
                for environment_class in page.environment_classes
            )

    def read_runners(self) -> Iterator[Name]:
        """Yield the runners."""
        for page in self.paginate(RUNNERS, RunnersPage):
            yield from (Name(runner.runner_id, runner.name) for runner in page.runners)

    def read_users(self) -> Iterator[Name]:
        """Yield the members of the token's organization."""
        organization = self.fetch(IDENTITY, Identity, {}).organization_id
        for page in self.paginate(MEMBERS, MembersPage, organizationId=organization):
            yield from (Name(member.user_id, member.full_name, member.email) for member in page.members)

    def read_teams(self) -> Iterator[Name]:
        """Yield the teams."""
        for page in self.paginate(TEAMS, TeamsPage):
            yield from (Name(team.id, team.name) for team in page.teams)

    def read_groups(self) -> Iterator[Name]:
        """Yield the groups."""
        for page in self.paginate(GROUPS, GroupsPage):
            yield from (Name(group.id, group.name) for group in page.groups)

    def list_team_members(self, team_id: str) -> list[str]:
        """Return the ids of the users of a team."""
        pages = self.paginate(TEAM_MEMBERS, MembersPage, teamId=team_id)
        return [member.user_id for page in pages for member in page.members]

    def list_group_members(self, group_id: str) -> list[str]:
        """Return the ids of the users of a group."""
        pages = self.paginate(MEMBERSHIPS, MembershipsPage, groupId=group_id)
        subjects = (membership.subject for page in pages for membership in page.members)
        return [subject.id for subject in subjects if subject.principal == USER]

    def add_members(self, listing: NameListing, list_members: Callable[[str], list[str]]) -> NameListing:
        """Return the listing of teams or groups with their users."""
        if listing.refused:
            return listing
        try:
            members = {name.vendor_id: list_members(name.vendor_id) for name in listing.names}
            return replace(listing, members=members)
        except (CredentialError, RequestRejected) as error:
            return replace(listing, members_refused=get_refusal(error))

    def paginate(self, path: str, page_type: type[T], **params: str) -> Iterator[T]:
        """Yield the pages of a listing; raises InvalidResponse for a listing without an end."""
        token, tokens = "", set[str]()
        while True:
            page = self.fetch(path, page_type, {**params, "pagination": build_pagination(token)})
            yield page
            token = page.pagination.next_token  # type: ignore[attr-defined]  # every page is a DirectoryPage
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
