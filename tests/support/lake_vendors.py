"""Makes the vendors of tests/support/lake.py known to a process that imports this, which flushes no disk."""

import os

from tests.support.lake import KINDS_OF_VENDORS
from usage.data_quality import VENDOR_KINDS

VENDOR_KINDS.update(KINDS_OF_VENDORS)
# Waits for all that any process of the machine has written; no test takes its power away.
os.sync = lambda: None
