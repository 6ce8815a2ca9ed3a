"""The Explore page: any summary as a chart and a table, with its question in the address.

It asks the same functions as the API's summaries, so it shows the same numbers and makes the same objections.
"""
