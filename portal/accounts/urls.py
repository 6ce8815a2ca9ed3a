"""URLs of signing in: the part of allauth's that the portal offers."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account import views as account
from allauth.socialaccount import views as social
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import include, path, re_path

from portal.accounts import oidc
from portal.accounts.invitations import AcceptInvitationView, open_invitation

View = Callable[..., HttpResponseBase]


def require_mail(view: View) -> View:
    """Respond with 404 where the portal sends no mail."""

    @wraps(view)
    def wrapped_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.PORTAL_EMAIL_URL:
            raise Http404
        return view(request, *args, **kwargs)

    return wrapped_view


def require_password(view: View) -> View:
    """Respond with 404 to users without a password, who sign in through the provider."""

    @wraps(view)
    def wrapped_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not request.user.has_usable_password():
            raise Http404
        return view(request, *args, **kwargs)

    return wrapped_view


urlpatterns = [
    path("login/", account.login, name="account_login"),
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("password/change/", require_password(account.password_change), name="account_change_password"),
    path("password/reset/", require_mail(account.password_reset), name="account_reset_password"),
    path("password/reset/done/", require_mail(account.password_reset_done), name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        require_mail(account.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        require_mail(account.password_reset_from_key_done),
        name="account_reset_password_from_key_done",
    ),
    path("invitation/", AcceptInvitationView.as_view(), name="accept_invitation"),
    path("invitation/<str:secret>/", open_invitation, name="open_invitation"),
    path("2fa/", include("allauth.mfa.urls")),
    path("oidc/<slug:provider_id>/login/", oidc.login, name="openid_connect_login"),
    path("oidc/<slug:provider_id>/login/callback/", oidc.callback, name="openid_connect_callback"),
    path("oidc/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
]
