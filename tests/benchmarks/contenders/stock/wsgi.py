"""What granian serves."""

import os

import django_stubs_ext
from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.contenders.stock.settings"
django_stubs_ext.monkeypatch()
application = get_wsgi_application()
