"""The commands of docs/api.md: every one is run as it stands and answers what it says."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from portal.accounts.models import Scope, create_token
from portal.environment import BASE_DIR
from tests.support import curl
from tests.support.filled_portal import fill_portal
from usage.models import ResourceUsage, Source

pytestmark = pytest.mark.django_db(transaction=True)

# What each command's comment begins with: the status of its answer, and a piece of it.
EXPECTED = {
    "One page of a list": (200, '"next_cursor": "'),
    "Filters": (200, '"resource_type":"volume"'),
    "Names that contain": (200, '"recipe_name":"Sync orders"'),
    "Names beside ids": (200, '"results": ['),
    "What has no project": (200, '"results": []'),
    "Tags": (200, '"tags":{"env": ["dev", "test"], "team": "data"}'),
    "Every change since": (200, '"settled_until": "2'),
    "Everything as a file": (200, "id,source,day,resource_key,resource_type,"),
    "The format by header": (200, '"recipe_id":null'),
    "What such a file must hold": (200, '"rows"'),
    "A sum per month and project": (200, '"runtime_seconds"'),
    "A sum per team": (200, "A user in two teams counts in each of them"),
    "The five largest": (200, '"previous": {"records"'),
    "Runtime split": (200, '"day": "2026-11-30"'),
    "How far the days": (200, '"state":"loaded"'),
    "What was used at all vendors": (200, '"gbminutes"'),
    "Have days read again": (202, '"from_day":"2026-11-01"'),
    "A mistake is refused": (400, "allowed are:"),
    "An answer has an ETag": (304, ""),
}


def read_commands() -> dict[str, str]:
    """Return the commands of the page, by the comment above each."""
    page = (BASE_DIR / "docs/api.md").read_text()
    lines = page.split("```sh\n")[1].split("```")[0].splitlines()
    return {comment.removeprefix("# "): command for comment, command in zip(lines[::2], lines[1::2], strict=True)}


def test_every_command_of_the_page_answers_what_it_says(tmp_path: Path, web_server: Callable[..., int]) -> None:
    fill_portal()
    for source in Source.objects.all():
        Source.objects.filter(pk=source.pk).update(slug=f"{source.vendor}-demo")
    _, secret = create_token("curl", Scope.values)
    commands = read_commands()
    assert len(commands) == len(EXPECTED)
    variables = {"TOKEN": secret, "PORTAL": f"http://127.0.0.1:{web_server()}"}
    for comment, command in commands.items():
        status, piece = next(expected for start, expected in EXPECTED.items() if comment.startswith(start))
        response = curl.run(command, variables, tmp_path)
        assert (response.status, piece in response.body) == (status, True), f"{command}\n{response}"
        if response.headers.get("content-type") == "application/json":
            json.loads(response.body)
    november = ResourceUsage.objects.current().filter(day__gte=date(2026, 11, 1))
    assert (tmp_path / "usage.csv").read_text().count("\n") == november.count() + 1
