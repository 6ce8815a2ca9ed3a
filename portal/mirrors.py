"""Who may use the mirrors: portal tokens, in the header that the vendor's clients send."""

from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied

from portal.accounts.authentication import NOT_ACCEPTED, TokenAccess, get_token_access
from portal.accounts.models import Scope
from portal.accounts.throttling import count_failure, count_request
from portal.standby import choose_database


def authenticate(request: HttpRequest) -> TokenAccess:
    """Return the rights of the token behind any scheme of the Authorization header, and count the request.

    Raises DRF's exceptions for a token that is missing or unknown, has not the scope or is over its rate.
    """
    secret = request.headers.get("Authorization", "").rpartition(" ")[2]
    access = get_token_access(secret) if secret else None
    if access is None:
        count_failure(request)
        raise AuthenticationFailed(NOT_ACCEPTED if secret else "Send a portal token in the Authorization header.")
    count_request(request, f"token:{access.token.prefix}", access.token.rate)
    refusal = access.refusal(Scope.MIRROR_READ, permission="")
    if refusal:
        raise PermissionDenied(refusal)
    choose_database(request)
    return access
