"""Summaries: exact grouped sums of usage, the totals of everything that passes the filters, and their data quality."""
