"""Which proxy the environment names for an address, and which requests go through it."""

import httpcore2
import httpx2
import pytest

from sync.errors import ErrorCode, SyncError, VendorUnavailable
from sync.http import network
from sync.http.outgoing import check_address, check_name, parse_target, send_request

HOOK = "https://hooks.example.com/1"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, HOOK, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, HOOK, ("http", "proxy.example", 3128)),
        ({"HTTPS_PROXY": "proxy.example:3128"}, HOOK, ("http", "proxy.example", 3128)),
        ({"HTTPS_PROXY": "https://proxy.example:3129"}, HOOK, ("https", "proxy.example", 3129)),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, HOOK, None),
        ({"ALL_PROXY": "http://proxy.example:3128"}, HOOK, ("http", "proxy.example", 3128)),
        ({"ALL_PROXY": "http://proxy.example:3128", "NO_PROXY": "example.com"}, HOOK, None),
        ({"ALL_PROXY": "http://proxy.example:3128", "NO_PROXY": "example.org"}, HOOK, ("http", "proxy.example", 3128)),
    ],
)
def test_the_environment_names_the_proxy_of_an_address(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: tuple[str, str, int] | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    actual_proxy = network.find_proxy(httpx2.URL(url))
    address = (
        (actual_proxy.url.scheme.decode(), actual_proxy.url.host.decode(), actual_proxy.url.port)
        if actual_proxy
        else None
    )
    assert address == proxy
    assert actual_proxy is None or (actual_proxy.ssl_context is not None) == (actual_proxy.url.scheme == b"https")


def test_the_name_and_password_of_a_proxy_are_sent_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:secret@proxy.example:3128")
    proxy = network.find_proxy(httpx2.URL(HOOK))
    assert proxy is not None
    assert proxy.auth == (b"ada", b"secret")


@pytest.mark.parametrize("address", ["socks5://proxy.example:1080", "http://proxy.example:port", "ftp://proxy.example"])
def test_a_proxy_that_is_no_http_proxy_is_refused_without_its_address(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(VendorUnavailable, match="is not an HTTP proxy") as error:
        network.find_proxy(httpx2.URL(HOOK))
    assert error.value.code == ErrorCode.PROXY_FAILED
    assert "proxy.example" not in error.value.reason


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["93.184.215.14", "::1"]])
def test_a_name_that_leads_to_a_private_address_is_not_sent_to_a_proxy(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setattr(network, "resolve_host", lambda *_: addresses)
    monkeypatch.setattr("httpcore2.SyncBackend.connect_tcp", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises(SyncError, match="private network"):
        send_request("POST", parse_target(HOOK, []), b"{}", {})


def test_a_name_of_public_addresses_and_one_that_only_the_proxy_knows_are_sent_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = httpx2.URL(HOOK)
    monkeypatch.setattr(network, "resolve_host", lambda *_: ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
    check_name(url)

    def fail(*_: object) -> list[str]:
        raise httpcore2.ConnectError

    monkeypatch.setattr(network, "resolve_host", fail)
    check_name(url)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "64:ff9b::5db8:d70e"])
def test_public_addresses_are_connected_to(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["192.168.1.1", "fe80::1%eth0", "224.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"])
def test_addresses_that_are_not_public_are_not_connected_to(address: str) -> None:
    with pytest.raises(SyncError, match="private network") as error:
        check_address(address)
    assert error.value.code == ErrorCode.HOST_NOT_ALLOWED
