"""Data quality: how complete and how final an answer is, judged by the source days that it is made from.

`assess` judges a range, `assess_intervals` each interval of it, `coverage` a source; `messages` puts it into sentences.
"""

from usage.data_quality.assess import (
    VENDOR_KINDS,
    DataQuality,
    assess,
    assess_filtered,
    get_reporting_sources,
    select_reporting_sources,
)
from usage.data_quality.days import MAX_LISTED_DAYS
from usage.data_quality.intervals import IntervalQuality, assess_intervals

__all__ = [
    "MAX_LISTED_DAYS",
    "VENDOR_KINDS",
    "DataQuality",
    "IntervalQuality",
    "assess",
    "assess_filtered",
    "assess_intervals",
    "get_reporting_sources",
    "select_reporting_sources",
]
