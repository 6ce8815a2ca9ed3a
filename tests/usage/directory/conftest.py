"""A source with usage and the names of its ids."""

from typing import Any

import pytest

from tests.support.factories import EnvironmentUsageFactory, SourceFactory
from usage.models import Directory, DirectoryEntry, NameKind, Source


def create_name(source: Source, kind: NameKind, vendor_id: str, text: str, **values: Any) -> DirectoryEntry:
    """Store a name; of a user with an e-mail address and a pseudonym."""
    if kind == NameKind.USER:
        values = {"email": f"{vendor_id}@example.com", "pseudonym": f"Word{vendor_id}", **values}
    return DirectoryEntry.objects.create(source=source, kind=kind, vendor_id=vendor_id, name=text, **values)


@pytest.fixture
def source() -> Source:
    """A source with runs of two projects and three users, and their names."""
    created: Source = SourceFactory(slug="main", vendor="ona")
    Directory.objects.create(source=created, version=3)
    for project, text in (("p1", "Payments"), ("p2", "=SUM(1)")):
        create_name(created, NameKind.PROJECT, project, text)
    create_name(created, NameKind.TEAM, "t1", "Checkout")
    create_name(created, NameKind.TEAM, "t2", "Data")
    create_name(created, NameKind.USER, "u1", "Ada Lovelace", team_ids=["t1", "t2"])
    create_name(created, NameKind.USER, "u2", "Grace Hopper", team_ids=["t1"])
    create_name(created, NameKind.USER, "u3", "Alan Turing")
    for project, user in (("p1", "u1"), ("p1", "u2"), ("p2", "u3"), ("p2", "unknown")):
        EnvironmentUsageFactory(source=created, project_id=project, user_id=user)
    return created
