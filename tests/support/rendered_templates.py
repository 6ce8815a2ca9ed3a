"""The templates that a response of the test client remembers."""

from typing import Any


def leave_out_inputs(client: Any) -> None:
    """Let `django.test.client` store the templates that are rendered, with copies of their contexts, but no inputs'."""
    store = client.store_rendered_templates

    def store_unless_input(data: dict[str, Any], signal: Any, sender: Any, template: Any, **more: Any) -> None:
        if not str(template.name).startswith("django/forms/"):
            store(data, signal, sender, template, **more)

    client.store_rendered_templates = store_unless_input
