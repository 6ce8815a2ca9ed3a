"""The app of users' access, API tokens and the audit log."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """API tokens, scopes, roles, signing in and the audit log."""

    name = "portal.accounts"
    verbose_name = "Access"

    def ready(self) -> None:
        from portal.accounts import security_log  # noqa: F401
