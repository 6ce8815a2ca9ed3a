"""Sources whose connection is tested, and the page that tests it."""

import pytest

from tests.support.factories import SourceFactory
from usage.models import Source

PATHS = {"ona": "/ona/api", "gcore": "/gcore", "workato": "/workato"}


@pytest.fixture(autouse=True)
def loopback(settings) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*", "localhost:*", "no-such-host.invalid:*"]


def create_source(base_url: str, vendor: str = "ona", credential: str = "sandbox-key") -> Source:
    zone = "Europe/Berlin" if vendor == "workato" else "UTC"  # of the sandbox's account
    values = {"base_url": base_url, "credential": credential, "credential_env": "", "time_zone": zone}
    source: Source = SourceFactory.create(slug="one", vendor=vendor, **values)
    return source
