"""Incidents: what is wrong and needs a person, from its beginning to its end, and the messages about it.

`*_alerts.py` find what is wrong now and describe it, for the overview and for incidents alike. `watch.py` opens and
resolves the incidents, `outbox.py` has the messages of each, `delivery.py` sends them through the channels.
"""
