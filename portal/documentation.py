"""The repository's documentation as pages of the staff's site, at addresses that keep its relative links."""

import threading
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.text import slugify

from portal.environment import BASE_DIR

INDEX: Final = "docs/index.md"
# markdown-it's mdurl fills tables at their first use, and another thread would read an incomplete table.
MARKDOWN_LOCK: Final = threading.Lock()


def list_documents() -> dict[str, Path]:
    """Return the Markdown files that are pages, by their paths in the repository."""
    files = [*BASE_DIR.glob("*.md"), *(BASE_DIR / "docs").rglob("*.md")]
    return {file.relative_to(BASE_DIR).as_posix(): file for file in files}


def show_document(request: HttpRequest, path: str = INDEX) -> HttpResponse:
    """Show a document; 404 for any other file."""
    file = list_documents().get(path)
    if file is None:
        raise Http404
    text = file.read_text(encoding="utf-8")
    title = text.partition("\n")[0].removeprefix("# ")
    context = {
        **admin.site.each_context(request),
        "title": title,
        "is_index": path == INDEX,
        "document": render_markdown(text),
    }
    return TemplateResponse(request, "admin/portal/document.html", context)


def render_markdown(text: str) -> SafeString:
    """Return Markdown as HTML, its headings with ids; HTML in it is escaped, and of an image only its text is shown."""
    with MARKDOWN_LOCK:
        return convert_markdown(text)


@cache
def convert_markdown(text: str) -> SafeString:
    """Return the HTML, for one thread at a time."""
    from markdown_it import MarkdownIt  # 33 ms of CPU, for those who read

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", render_alternative_text)
    tokens = parser.parse(text)
    for token in tokens:
        if token.attrs.pop("style", "") == "text-align:right":  # the content security policy refuses inline styles
            token.attrSet("class", "right")
    for heading, content in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", slugify(content.content))
    return SafeString(parser.renderer.render(tokens, parser.options, {}))


def render_alternative_text(_renderer: Any, tokens: Any, index: int, _options: Any, _env: Any) -> str:
    """Return the text of an image."""
    return escape(tokens[index].content)
