"""Slows down the guessing of passwords, so that guesses do not lock the user out.

Wrong guesses are counted by account and address. An account also has a higher bound over all addresses, and an address
over all accounts. A browser that the user has signed in with before is counted separately: guesses from elsewhere do
not affect it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from secrets import token_urlsafe

from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase

from portal.accounts.throttling import Rate, count_rate, get_client_address, uncount

FROM_ADDRESS = Rate(5, 5 * 60)
FROM_BROWSER = Rate(5, 5 * 60)
AT_ANY_ACCOUNT = Rate(30, 5 * 60)
FROM_ANYWHERE = Rate(300, 60 * 60)
IPV6_NETWORK = 64  # the smallest network that a provider assigns to a customer
COOKIE = "known_browser"
COOKIE_SECONDS = 180 * 24 * 60 * 60
SALT = "portal.known-browser"


@dataclass(frozen=True, slots=True)
class Guess:
    """An attempt at a password: the bounds it was counted under, and whether it came too often."""

    bounds: Sequence[tuple[str, Rate]]
    is_refused: bool

    def forgive(self) -> None:
        """Count the attempt no longer: the password was right."""
        uncount(self.bounds)


def count_guess(request: HttpRequest, login: str) -> Guess:
    """Count an attempt to sign in before the password is compared, so that guesses at the same time count too.

    The bounds are checked in order: a guess that a narrower bound refuses does not use up the wider bounds.
    """
    bounds = []
    for key, rate in list_bounds(request, find_account(login)):
        bounds.append((key, rate))
        status = count_rate(key, rate)
        if status is not None and status.is_exceeded:
            return Guess(bounds, is_refused=True)
    return Guess(bounds, is_refused=False)


def list_bounds(request: HttpRequest, account: str) -> list[tuple[str, Rate]]:
    """Return what an attempt at an account is counted under, the narrowest first."""
    if browser := get_known_browser(request, account):
        return [(f"guess:browser:{browser}", FROM_BROWSER)]
    address = get_network(get_client_address(request))
    return [
        (f"guess:account:{account}:address:{address}", FROM_ADDRESS),
        (f"guess:address:{address}", AT_ANY_ACCOUNT),
        (f"guess:account:{account}", FROM_ANYWHERE),
    ]


def find_account(login: str) -> str:
    """Return the key of the account of a user name or an e-mail address, so that both count together."""
    user = User.objects.filter(Q(username__iexact=login) | Q(email__iexact=login)).order_by("pk").first()
    return str(user.pk) if user else f"unknown-{sha256(login.lower().encode()).hexdigest()[:32]}"


def get_network(address: str) -> str:
    """Return an address as it is counted: an IPv6 address by its network, which belongs to a single customer."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    is_wide = isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None
    return str(ip_network(f"{address}/{IPV6_NETWORK}", strict=False)) if is_wide else str(parsed)


def get_known_browser(request: HttpRequest, account: str) -> str:
    """Return the id of the browser if it was used to sign in to this account before, else ""."""
    try:
        cookie = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=COOKIE_SECONDS)
        return str(cookie["browser"]) if cookie["account"] == account else ""
    except (signing.BadSignature, KeyError, TypeError):
        return ""


def remember_browser(request: HttpRequest, response: HttpResponseBase, user: User) -> None:
    """Mark a browser as used by the user to sign in; the cookie grants no access."""
    account = str(user.pk)
    browser = get_known_browser(request, account) or token_urlsafe(16)
    response.set_cookie(
        COOKIE,
        signing.dumps({"account": account, "browser": browser}, salt=SALT),
        max_age=COOKIE_SECONDS,
        path="/accounts/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
