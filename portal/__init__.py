"""How the portal is wired: settings, addresses, Celery, access, and the embedded services."""
