"""Invitations: links with which new users set their first password, and the page behind them.

A link works once and for PORTAL_INVITATION_HOURS. It stops working as soon as the user signs in another way, gets a
password or is deactivated, and when the inviter may not change the user any more: an old link opens no account that
has got more rights than the inviter.
"""

import secrets
from datetime import datetime, timedelta
from typing import Any, Final

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from portal.accounts.models import Invitation, hash_secret
from portal.accounts.permissions import can_change_user

SECRET_BYTES: Final = 32
SESSION_KEY: Final = "invitation"  # the hash of the secret, so that no address but the link itself has it
INVITER_PERMISSIONS: Final = ("auth.add_user", "auth.change_user")


def can_be_invited(user: User) -> bool:
    """Return whether a user has no access yet: active, without a password, and never signed in."""
    return user.is_active and user.last_login is None and not user.has_usable_password()


def invite(user: User, inviter: User) -> str:
    """Return the secret of a new invitation, which is stored nowhere; it replaces the previous invitation."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with transaction.atomic():
        withdraw(user)
        Invitation.objects.create(
            user=user, digest=hash_secret(secret), created_by=inviter, expires_at=compute_expiry(timezone.now())
        )
    return secret


def compute_expiry(now: datetime) -> datetime:
    """Return when an invitation of now ends, to the second."""
    return now.replace(microsecond=0) + timedelta(hours=settings.PORTAL_INVITATION_HOURS)


def withdraw(user: User) -> None:
    """Delete the invitation of a user, if any."""
    Invitation.objects.filter(user=user).delete()


def find_usable(invitations: QuerySet[Invitation], digest: bytes) -> Invitation | None:
    """Return the invitation with this digest, None where it does not work (any more)."""
    unexpired = invitations.filter(digest=digest, expires_at__gt=timezone.now())
    invitation = unexpired.select_related("user", "created_by").first()
    return invitation if invitation is not None and is_usable(invitation) else None


def is_usable(invitation: Invitation) -> bool:
    """Return whether the user has no access yet and the inviter may still change them."""
    inviter = invitation.created_by
    if inviter is None or not inviter.is_active or not inviter.has_perms(INVITER_PERMISSIONS):
        return False
    return can_be_invited(invitation.user) and can_change_user(inviter, invitation.user)


def send_invitation(request: HttpRequest, user: User, secret: str, expires: str) -> None:
    """Send the link to the user's address; raises OSError where the mail server does not take it."""
    context = {
        "link": build_link(request, secret),
        "username": user.get_username(),
        "expires": expires,
        "provider_name": settings.PORTAL_OIDC_NAME if settings.PORTAL_OIDC_ISSUER else "",
    }
    get_adapter(request).send_mail("account/email/invitation", user.email, context)


def build_link(request: HttpRequest, secret: str) -> str:
    """Return the address of an invitation."""
    return request.build_absolute_uri(reverse("open_invitation", args=[secret]))


@never_cache
@login_not_required
def open_invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Keep the hash of the secret in the session and redirect to the page without it in its address.

    Opening the link does not use it up: programs that scan mail open it, too. An invalid link gets no session.
    """
    digest = hash_secret(secret)
    if find_usable(Invitation.objects.all(), digest) is None:
        return render_page(request, None, None)
    request.session[SESSION_KEY] = digest.hex()
    return redirect("accept_invitation")


@method_decorator((never_cache, login_not_required, sensitive_post_parameters()), name="dispatch")
class AcceptInvitationView(View):
    """The page on which a new user sets their first password."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show the form, or why there is none."""
        invitation = find_usable(Invitation.objects.all(), get_digest(request))
        return render_page(request, invitation, SetPasswordForm(invitation.user) if invitation else None)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Set the password, and delete the invitation in the same transaction."""
        with transaction.atomic():
            locked = Invitation.objects.select_for_update(of=("self",))
            invitation = find_usable(locked, get_digest(request))
            if invitation is None or request.user.is_authenticated:
                return render_page(request, invitation, None)
            form = SetPasswordForm(invitation.user, request.POST)
            if not form.is_valid():
                return render_page(request, invitation, form)
            form.save()
            invitation.delete()
        request.session.pop(SESSION_KEY, None)
        messages.success(request, f"Your password is set. Sign in as {invitation.user.get_username()}.")
        return redirect("account_login")


def get_digest(request: HttpRequest) -> bytes:
    """Return the digest of the link that this browser has opened, b"" for none."""
    return bytes.fromhex(request.session.get(SESSION_KEY, ""))


def render_page(
    request: HttpRequest, invitation: Invitation | None, form: "SetPasswordForm[User] | None"
) -> HttpResponse:
    """Return the page with the form; 404 where the link does not work."""
    context: dict[str, Any] = {"invitation": invitation, "form": form}
    return render(request, "account/invitation.html", context, status=200 if invitation else 404)
