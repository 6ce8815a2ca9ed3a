"""How a program requests from the API what a page shows: the address, a command with it, and what it needs."""

from shlex import quote
from typing import Final
from urllib.parse import urlsplit

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

MAX_CHARACTERS: Final = 8_000


def show_api_request(request: HttpRequest) -> HttpResponse:
    """Show the request that `path` is; raises BadRequest for what is no address of the API."""
    path = request.GET.get("path", "")
    root = reverse("api:docs").removesuffix("docs/")
    if not path.startswith(root) or len(path) > MAX_CHARACTERS or urlsplit(path).netloc or not path.isprintable():
        raise BadRequest
    url = request.build_absolute_uri(path)
    context = {
        **admin.site.each_context(request),
        "title": "From the API",
        "path": path,
        "url": url,
        "curl": f'curl -H "Authorization: Bearer $TOKEN" {quote(url)}',
        "python": build_python(url),
        "may_view_tokens": request.user.has_perm("accounts.view_apitoken"),
    }
    return TemplateResponse(request, "admin/portal/api_request.html", context)


def build_python(url: str) -> str:
    """Return a program that makes the request with the standard library."""
    return (
        "import json, os\n"
        "from urllib.request import Request, urlopen\n\n"
        f"url = {url!r}\n"
        'request = Request(url, headers={"Authorization": f"Bearer {os.environ[\'TOKEN\']}"})\n'
        "answer = json.load(urlopen(request))\n"
    )
