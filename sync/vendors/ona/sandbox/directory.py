"""The names of the Ona stand-in, of the ids of its runs, over Connect in JSON and in protobuf.

**Assumed**, the vendor being silent: a listing's token is opaque and belongs to it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from google.protobuf import json_format

from sync.api_messages import APIResponse
from sync.sandbox.world import World
from sync.vendors.ona import directory
from sync.vendors.ona import directory_pb2 as pb
from sync.vendors.ona.connect import DEFAULT_PAGE_SIZE, JSON, MAX_PAGE_SIZE, PROTO, ConnectError, parse_message
from sync.vendors.ona.sandbox.history import get_size
from sync.vendors.ona.sandbox.people import build_environments
from sync.vendors.ona.usage_pb2 import PaginationResponse

FIRST_NAMES: Final = ("Ada", "Björn", "Chiara", "Dmitri", "Éloïse", "Fatima", "Grace", "Hiroshi", "Ines", "Jürgen")
LAST_NAMES: Final = ("Abadi", "Brandt", "Castillo", "D'Angelo", "Ferrari", "Lovelace", "Müller", "Nakamura", "Öztürk")
PROJECTS: Final = ("payments", "web-shop", "data platform", "mobile", "search", "infra / terraform", "docs", "billing")
CLASSES: Final = ("Small", "Regular", "Large", "GPU", "Extra large", "Regular (EU)")
RUNNERS: Final = ("eu-central", "us-east", "on-premises", "ap-northeast")
TEAMS: Final = ("Checkout", "Data", "Platform", "Mobile")
GROUPS: Final = ("Administrators", "Contractors")
# One in so many users is in no team, and one in so many is in two teams.
IN_NO_TEAM, IN_TWO_TEAMS = 9, 4


class NameSandbox:
    """Answers the requests for names of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.refused: frozenset[str] = frozenset()  # paths that the token may not read; tests set them
        listings: dict[str, Callable[[Any], list[Any]]] = {
            directory.MEMBERS: self.list_members,
            directory.PROJECTS: self.list_projects,
            directory.CLASSES: self.list_classes,
            directory.RUNNERS: self.list_runners,
            directory.GROUPS: self.list_groups,
            directory.MEMBERSHIPS: self.list_memberships,
            directory.TEAMS: self.list_teams,
            directory.TEAM_MEMBERS: self.list_team_members,
        }
        self.listings = {f"/api{path}": list_rows for path, list_rows in listings.items()}
        self.paths = (f"/api{directory.IDENTITY}", *self.listings)

    def respond(self, path: str, content_type: str, body: bytes, query: Mapping[str, list[str]]) -> APIResponse:
        """Return the answer for one of `paths`; raises ConnectError."""
        if path in self.refused:
            raise ConnectError("permission_denied", "the token may not do this")
        name = path.rpartition("/")[2]
        request = parse_message(getattr(pb, f"{name}Request"), content_type, body)
        if path in self.listings:
            answer = build_page(getattr(pb, f"{name}Response"), self.listings[path](request), request, query)
        else:
            answer = self.build_identity()
        if content_type == PROTO:
            return APIResponse(200, answer.SerializeToString(), PROTO)
        return APIResponse(200, json_format.MessageToJson(answer, indent=None).encode(), JSON)

    def list_ids(self, name: str) -> list[str]:
        """Return the ids of the runs' field `name`, in an order of their own."""
        environments = build_environments(self.world.seed, get_size(self.world))
        return sorted({getattr(environment, name) for environment in environments} - {""})

    def build_id(self, kind: str, number: int) -> str:
        """Return the id of a team, a group or the organization."""
        text = f"{self.world.roll(kind, number):016x}{self.world.roll(kind, number, 'low'):016x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def list_places(self, user_id: str) -> list[int]:
        """Return the places of a user's teams."""
        bits = self.world.roll("team", user_id)
        if bits % IN_NO_TEAM == 0:
            return []
        first = (bits >> 8) % len(TEAMS)
        return [first, (first + 1) % len(TEAMS)] if (bits >> 16) % IN_TWO_TEAMS == 0 else [first]

    def name_user(self, place: int) -> str:
        last = LAST_NAMES[place // len(FIRST_NAMES) % len(LAST_NAMES)]
        return f"{FIRST_NAMES[place % len(FIRST_NAMES)]} {last}"

    def build_identity(self) -> Any:
        """Return the identity that the token belongs to."""
        subject = pb.Subject(id=self.build_id("bot", 0), principal=pb.PRINCIPAL_SERVICE_ACCOUNT)
        return pb.GetAuthenticatedIdentityResponse(subject=subject, organization_id=self.build_id("organization", 0))

    def list_members(self, request: Any) -> list[Any]:
        if request.organization_id != self.build_id("organization", 0):
            raise ConnectError("permission_denied", "no access to this organization")
        return [
            pb.OrganizationMember(user_id=user, full_name=self.name_user(place), email=f"user{place}@example.com")
            for place, user in enumerate(self.list_ids("user_id"))
        ]

    def list_projects(self, request: Any) -> list[Any]:
        return [
            pb.Project(id=project, metadata=pb.ProjectMetadata(name=number_name(PROJECTS, place)))
            for place, project in enumerate(self.list_ids("project_id"))
        ]

    def list_classes(self, request: Any) -> list[Any]:
        return [
            pb.EnvironmentClass(id=class_id, display_name=number_name(CLASSES, place), enabled=True)
            for place, class_id in enumerate(self.list_ids("environment_class_id"))
        ]

    def list_runners(self, request: Any) -> list[Any]:
        return [
            pb.Runner(runner_id=runner, name=number_name(RUNNERS, place))
            for place, runner in enumerate(self.list_ids("runner_id"))
        ]

    def list_teams(self, request: Any) -> list[Any]:
        return [pb.Team(id=self.build_id("teams", place), name=name) for place, name in enumerate(TEAMS)]

    def list_team_members(self, request: Any) -> list[Any]:
        place = self.find_place("teams", request.team_id, len(TEAMS))
        return [
            pb.TeamMember(team_id=request.team_id, user_id=user, name=self.name_user(number))
            for number, user in enumerate(self.list_ids("user_id"))
            if place in self.list_places(user)
        ]

    def list_groups(self, request: Any) -> list[Any]:
        return [pb.Group(id=self.build_id("groups", place), name=name) for place, name in enumerate(GROUPS)]

    def list_memberships(self, request: Any) -> list[Any]:
        """Return the memberships of a group: users, and a member that is no user."""
        place = self.find_place("groups", request.group_id, len(GROUPS))
        users = [user for user in self.list_ids("user_id") if self.world.roll("group", user) % len(GROUPS) == place]
        subjects = [pb.Subject(id=user, principal=pb.PRINCIPAL_USER) for user in users]
        subjects.append(pb.Subject(id=self.build_id("bot", 0), principal=pb.PRINCIPAL_SERVICE_ACCOUNT))
        return [pb.GroupMembership(group_id=request.group_id, subject=subject) for subject in subjects]

    def find_place(self, kind: str, team_or_group_id: str, count: int) -> int:
        """Return the place of a team or a group; raises ConnectError where there is none."""
        ids = [self.build_id(kind, place) for place in range(count)]
        if team_or_group_id not in ids:
            raise ConnectError("not_found", "not found")
        return ids.index(team_or_group_id)


def number_name(names: Sequence[str], place: int) -> str:
    """Return the name at a place; names come again with a number."""
    turn, place = divmod(place, len(names))
    return f"{names[place]} {turn + 1}" if turn else names[place]


def build_page(page_type: type[Any], rows: Sequence[Any], request: Any, query: Mapping[str, list[str]]) -> Any:
    """Return one page of the rows; token and size of the query win, as in the usage listing."""
    try:
        size = int(query["pageSize"][-1]) if "pageSize" in query else request.pagination.page_size
        start = int(query["token"][-1] if "token" in query else request.pagination.token or 0)
    except ValueError:
        raise ConnectError("invalid_argument", "invalid pagination") from None
    if not 0 <= size <= MAX_PAGE_SIZE:
        raise ConnectError("invalid_argument", "pagination.page_size: value must be between 0 and 100")
    end = start + (size or DEFAULT_PAGE_SIZE)
    field = next(field.name for field in page_type.DESCRIPTOR.fields if field.name != "pagination")
    pagination = PaginationResponse(next_token=str(end) if end < len(rows) else "")
    return page_type(pagination=pagination, **{field: rows[start:end]})
