"""The WSGI application that granian serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()

from portal.checks import exit_if_misconfigured  # noqa: E402  # Django has to be set up first.

exit_if_misconfigured()
