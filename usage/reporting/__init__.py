"""SQL for reports: views of usage in the schema `reporting`, and the roles of the database that may read them.

`views.py` defines the views, `schema.py` makes them after every `migrate`, `roles.py` makes roles.
"""
