"""Who opens the pages of sources, and the source that they show."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from sync.sources import build_source
from tests.support.source_pages import CREDENTIAL
from usage.models import Source


@pytest.fixture
def staff(client: Client) -> Client:
    """A client signed in as a superuser."""
    client.force_login(User.objects.create_superuser("alex"))
    return client


@pytest.fixture
def source() -> Source:
    """A stored source with a credential of its own."""
    source = build_source(slug="ona-main", vendor="ona", credential=CREDENTIAL)
    source.save()
    return source
