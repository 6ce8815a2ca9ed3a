"""Stock Django over the portal's tables: what `startproject`, DRF's tutorial and django-import-export give."""
