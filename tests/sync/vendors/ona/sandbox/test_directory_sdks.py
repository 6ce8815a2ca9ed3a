"""The vendor's own SDKs, both generations of them and unmodified, list the names of the stand-in."""

from typing import Any

from gitpod import Gitpod

from sync.vendors.ona.sandbox import Sandbox
from tests.support.ona_sdk_1x import run_program
from tests.support.sandbox_server import SandboxServer
from tests.sync.vendors.ona.sandbox.requests import END, KEY, START

PROGRAM = """
import json, sys
from gitpod.v1 import group_pb2, identity_pb2, organization_pb2, project_pb2, runner_pb2, team_pb2
from gitpod.v1.pagination_pb2 import PaginationRequest
from gitpod.v1.runner_configuration_pb2 import ListEnvironmentClassesRequest
from ona_sdk import create_client

options = json.load(sys.stdin)
services = create_client(api_key=options["key"], base_url=options["base_url"]).services

def everything(call, request_type, field, **params):
    token, entries = "", []
    while True:
        response = call(request_type(pagination=PaginationRequest(page_size=7, token=token), **params))
        entries += getattr(response, field)
        token = response.pagination.next_token
        if not token:
            return entries

identity = services.identity.get_authenticated_identity(identity_pb2.GetAuthenticatedIdentityRequest())
members = everything(services.organization.list_members, organization_pb2.ListMembersRequest, "members",
                     organization_id=identity.organization_id)
projects = everything(services.project.list_projects, project_pb2.ListProjectsRequest, "projects")
classes = everything(services.environment.list_environment_classes, ListEnvironmentClassesRequest,
                     "environment_classes")
runners = everything(services.runner.list_runners, runner_pb2.ListRunnersRequest, "runners")
teams = everything(services.team.list_teams, team_pb2.ListTeamsRequest, "teams")
groups = everything(services.group.list_groups, group_pb2.ListGroupsRequest, "groups")
print(json.dumps({
    "users": [[member.user_id, member.full_name, member.email] for member in members],
    "projects": [[project.id, project.metadata.name] for project in projects],
    "classes": [[item.id, item.display_name] for item in classes],
    "runners": [[runner.runner_id, runner.name] for runner in runners],
    "teams": {team.name: [member.user_id for member in everything(
        services.team.list_team_members, team_pb2.ListTeamMembersRequest, "members", team_id=team.id)] for team in teams},
    "groups": {group.name: [member.subject.id for member in everything(
        services.group.list_memberships, group_pb2.ListMembershipsRequest, "members", group_id=group.id)
        if member.subject.principal == identity_pb2.PRINCIPAL_USER] for group in groups},
}))
"""


def read_with_old_sdk(url: str) -> dict[str, Any]:
    """List with `gitpod-sdk` 0.x, which knows no teams, and its own auto-pagination."""
    paging: Any = {"page_size": 7}
    with Gitpod(bearer_token=KEY, base_url=f"{url}/ona/api") as client:
        identity = client.identity.get_authenticated_identity()
        members = client.organizations.list_members(organization_id=str(identity.organization_id), pagination=paging)
        groups = client.groups.list(pagination=paging)
        memberships: dict[str, list[str | None]] = {}
        for group in groups:
            entries = list(client.groups.memberships.list(group_id=str(group.id), pagination=paging))
            subjects = [membership.subject for membership in entries if membership.subject]
            memberships[str(group.name)] = [subject.id for subject in subjects if subject.principal == "PRINCIPAL_USER"]
        return {
            "users": [[member.user_id, member.full_name, member.email] for member in members],
            "projects": [[project.id, project.metadata.name] for project in client.projects.list(pagination=paging)],
            "classes": [
                [environment_class.id, environment_class.display_name]
                for environment_class in client.environments.classes.list(pagination=paging)
            ],
            "runners": [[runner.runner_id, runner.name] for runner in client.runners.list(pagination=paging)],
            "groups": memberships,
        }


def test_both_generations_of_the_vendors_sdk_read_every_name(sandbox: SandboxServer, ona: Sandbox):
    modern = run_program(PROGRAM, {"key": KEY, "base_url": f"{sandbox.url}/ona/api"})
    teams = modern.pop("teams")
    assert read_with_old_sdk(sandbox.url) == modern
    users = {user_id for user_id, *_ in modern["users"]}
    assert len(users) > 50
    assert all(modern.values())
    assert set(teams) == {"Checkout", "Data", "Platform", "Mobile"}
    in_teams = [user for members in teams.values() for user in members]
    assert set(in_teams) < users, "some users are in no team"
    assert len(in_teams) > len(set(in_teams)), "some users are in two"
    user_ids = {run.environment.user_id for run in ona.list_runs(START, END)}
    assert user_ids <= users
