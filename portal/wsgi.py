"""The WSGI application that granian serves."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()

from portal.checks import stop_where_misconfigured  # noqa: E402  # Django has to be set up first.

stop_where_misconfigured()
# What was loaded stays: the collector need not walk through it again and again, which took a tenth of a list's time.
gc.collect()
gc.freeze()
