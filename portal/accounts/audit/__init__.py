"""The audit log: every change of the configuration, written by triggers of the database.

Triggers (`triggers.py`, on the tables of `tables.py`) also see bulk updates and changes made outside of the portal.
`context.py` passes them the user, page and address of a request. All entries are in one append-only table, with indexes
for the filters of its page; each entry names its source. The table may belong to a separate role (`owner.py`).
"""
