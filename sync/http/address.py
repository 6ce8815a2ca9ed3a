"""Where the portal may send a request to, and its credential with it."""

from collections.abc import Collection

from httpx2 import URL, InvalidURL

from sync.errors import HostNotAllowed

PORTS = {"https": 443, "http": 80}


def origin(url: URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port of `url`, the scheme's own port where it names none."""
    return url.scheme, url.host, url.port or PORTS.get(url.scheme)


def checked_base(base_url: str, hosts: Collection[str], allowed_hosts: Collection[str]) -> URL:
    """Return `base_url` parsed; raises HostNotAllowed where no request may go there.

    The vendor's own `hosts` are spoken to over https on its own port only; `allowed_hosts`, the `host` or
    `host:port` entries of PORTAL_ALLOWED_VENDOR_HOSTS, also without TLS.
    """
    try:
        url = URL(base_url.rstrip("/"))
    except InvalidURL:
        raise HostNotAllowed("The base URL is not a web address.") from None
    scheme, host, port = origin(url)
    if scheme not in PORTS or not host:
        raise HostNotAllowed("The base URL must begin with https:// and name a host.")
    if url.userinfo or url.query or url.fragment:
        raise HostNotAllowed("The base URL must not hold a user name, a query or a fragment.")
    if {host, f"{host}:{port}"} & {entry.strip().lower() for entry in allowed_hosts}:
        return url
    if host not in hosts:
        raise HostNotAllowed(
            f"{host} is not one of this vendor's hosts ({', '.join(sorted(hosts))}), "
            "nor in PORTAL_ALLOWED_VENDOR_HOSTS."
        )
    if (scheme, port) != ("https", 443):
        raise HostNotAllowed(f"{host} is only spoken to over https, on port 443.")
    return url
