"""The examples of docs/api.md, of vendors' clients with the base URL of a mirror, do what they say."""

import re
from datetime import timedelta
from typing import Any

import pytest

from portal.environment import BASE_DIR
from tests.support.mirrored_portal import FIRST, Pair, create_mirror_key, format_instant, read_all
from tests.support.mirrored_portal import frozen_sandbox as frozen_sandbox
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, Source

PAGE = BASE_DIR / "docs/api.md"
END = FIRST + timedelta(days=2)


def read_examples() -> dict[str, str]:
    """Return the Python examples of the page by the vendor whose mirror they use."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return {mirror: code for code in blocks for mirror in re.findall(r"/mirror/(\w+)-demo", code)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("vendor", "name"), [("ona", "runs"), ("gcore", "report"), ("workato", "rows")])
def test_the_example_of_every_vendor_gets_what_the_portal_holds(
    vendor: str, name: str, frozen_sandbox: Any, live_server: Any
) -> None:
    source = Pair(frozen_sandbox, read_all(frozen_sandbox, vendor, end=END)).source
    Source.objects.filter(pk=source.pk).update(slug=f"{vendor}-demo")
    offset = -1 if vendor == "workato" else 0
    variables: dict[str, Any] = {
        "PORTAL": live_server.url,
        "TOKEN": create_mirror_key(source),
        "START": format_instant(FIRST, offset),
        "END": format_instant(END, offset),
        "WORKSPACES": sorted(set(RecipeUsage.objects.values_list("workspace_id", flat=True))),
    }
    exec(read_examples()[vendor], variables)
    count = {
        "ona": EnvironmentUsage.objects.count(),
        "gcore": ResourceUsage.objects.values("resource_key").distinct().count(),
        "workato": RecipeUsage.objects.exclude(recipe_id=None).values("recipe_id", "day").distinct().count(),
    }[vendor]
    response = variables[name]
    assert (response.count if vendor == "gcore" else len(response)) == count > 0
    if "client" in variables:
        variables["client"].close()
