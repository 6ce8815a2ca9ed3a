"""Forms of the staff's pages, as a browser sends them."""

import re
from typing import Any

from django.test import Client


def post_form(client: Client, path: str, **fields: Any) -> str:
    """Send a form, and return the page that follows."""
    return client.post(path, fields, follow=True).content.decode()


def list_errors(page: str) -> list[str]:
    """Return the errors of a form's fields."""
    return re.findall(r'<ul class="errorlist"[^>]*><li>(.*?)</li>', page)
