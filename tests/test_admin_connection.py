"""The test of a connection against the sandbox and against addresses where something is wrong, each in words."""

from contextlib import closing
from socket import create_server
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from sync.sandbox.server import SandboxServer
from sync.sources import PROBE_BOUNDS, probe
from sync.vendors import readers
from tests.factories import SourceFactory
from tests.sandbox import sandbox  # noqa: F401
from usage.models import Source

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_client")]
PATHS = {"ona": "/ona/api", "gcore": "/gcore", "workato": "/workato"}


@pytest.fixture(autouse=True)
def loopback(settings) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1", "localhost", "no-such-host.invalid"]


def source(base_url: str, vendor: str = "ona", credential: str = "sandbox-key") -> Source:
    made: Source = SourceFactory.create(
        slug="one", vendor=vendor, base_url=base_url, credential=credential, credential_env=""
    )
    return made


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 at which nothing listens."""
    with closing(create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize("vendor", PATHS)
def test_a_vendor_that_answers_as_promised_is_told_so(sandbox: SandboxServer, vendor: str) -> None:  # noqa: F811
    result = probe(source(sandbox.url + PATHS[vendor], vendor))

    assert result.ok, result.words
    assert readers()[vendor].title in result.words


@pytest.mark.parametrize("vendor", PATHS)
def test_a_wrong_credential_is_told_and_not_repeated(sandbox: SandboxServer, vendor: str) -> None:  # noqa: F811
    result = probe(source(sandbox.url + PATHS[vendor], vendor, credential="not-the-sandboxes"))

    assert not result.ok
    assert "does not accept the credential (HTTP 401" in result.words
    assert "not-the-sandboxes" not in result.words


def test_an_answer_of_another_shape_is_told(sandbox: SandboxServer) -> None:  # noqa: F811
    sandbox.faults.set("wrong_json")

    result = probe(source(sandbox.url + PATHS["ona"]))

    assert not result.ok
    assert "is not a page of runs" in result.words


def test_an_address_with_another_path_is_told(sandbox: SandboxServer) -> None:  # noqa: F811
    result = probe(source(f"{sandbox.url}/ona/elsewhere"))

    assert not result.ok
    assert "HTTP 404" in result.words


def test_a_closed_port_is_told(free_port: int) -> None:
    result = probe(source(f"http://127.0.0.1:{free_port}"))

    assert "refused the connection: nothing listens there" in result.words


def test_a_host_without_an_address_is_told() -> None:
    result = probe(source("https://no-such-host.invalid/api"))

    assert "could not be resolved (DNS)" in result.words


def test_a_server_without_tls_is_told(sandbox: SandboxServer) -> None:  # noqa: F811
    result = probe(source(f"https://127.0.0.1:{urlsplit(sandbox.url).port}/ona/api"))

    assert "No TLS connection to 127.0.0.1" in result.words


def test_a_person_never_waits_as_long_as_a_worker_would() -> None:
    assert PROBE_BOUNDS.total_seconds <= 15
    assert PROBE_BOUNDS.attempts <= 2


def test_the_button_tells_how_it_went(client: Client, sandbox: SandboxServer) -> None:  # noqa: F811
    client.force_login(User.objects.create_superuser("alex"))
    made = source(sandbox.url + PATHS["ona"])
    button = reverse("admin:usage_source_do", args=[made.pk, "test"])

    good = client.post(button, follow=True)
    assert [message.level_tag for message in good.context["messages"]] == ["success"]

    Source.objects.update(base_url="https://evil.example")
    bad = client.post(button, follow=True)
    assert [message.level_tag for message in bad.context["messages"]] == ["error"]
    assert "evil.example is not one of this vendor&#x27;s hosts" in bad.content.decode()
