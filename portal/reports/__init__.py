"""Scheduled reports: a saved view of Explore that is sent by mail, daily, weekly or monthly.

They leave through the outbox of `portal/incidents`, one message for each report and date, and are written by the pages'
own code (`usage/explore`) with the rights that their owner has at that time.
"""
