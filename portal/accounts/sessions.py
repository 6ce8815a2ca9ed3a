"""Sessions in the database that end when they are not used for a while, and some hours after signing in in any case.

The row's `expire_date` applies both limits, and Django loads no session after it.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.utils import timezone

BEGAN_AT = "began_at"
# A session in use is prolonged once this part of its idle time has passed, and not with every request.
PROLONG_AFTER = 1 / 20


class SessionStore(db.SessionStore):
    """A session with the limits PORTAL_SESSION_IDLE_MINUTES and PORTAL_SESSION_HOURS."""

    expires_at: datetime | None = None

    def load(self) -> dict[str, Any]:
        """Return the data of the session, and note when it ends."""
        row = self._get_session_from_db()  # type: ignore[attr-defined]  # not in the stubs
        if row is None:
            return {}
        self.expires_at = row.expire_date
        return self.decode(row.session_data)

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        """Return the row to be saved; the hours begin when the user has signed in."""
        if SESSION_KEY in data:
            data.setdefault(BEGAN_AT, int(time.time()))
        return super().create_model_instance(data)

    def get_expiry_date(self, **_: Any) -> datetime:
        """Return when the session ends if it is not used any more."""
        idle = timezone.now() + timedelta(minutes=settings.PORTAL_SESSION_IDLE_MINUTES)
        began_at = self.get(BEGAN_AT)
        if began_at is None:
            return idle
        return min(idle, datetime.fromtimestamp(began_at, UTC) + timedelta(hours=settings.PORTAL_SESSION_HOURS))

    def prolong(self) -> None:
        """Move the end of a session that is in use; its data stay, which another request may be changing."""
        new_expiry = self.get_expiry_date()
        min_step = timedelta(minutes=settings.PORTAL_SESSION_IDLE_MINUTES) * PROLONG_AFTER
        if self.expires_at is not None and new_expiry - self.expires_at >= min_step:
            self.model.objects.filter(session_key=self.session_key).update(expire_date=new_expiry)
