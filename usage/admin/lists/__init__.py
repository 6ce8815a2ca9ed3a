"""The three usage lists: browsed by the API's filters, added up, opened, and exported as filtered."""

from usage.admin.lists import environments, recipes, resources

__all__ = ["environments", "recipes", "resources"]
