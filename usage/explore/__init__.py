"""The Explore page: any summary as a chart and a table, with its question in the address.

It calls the same functions as the API's summaries, so it shows the same numbers and the same errors.
"""
