"""`python -m portal.embedded FOLDER…`: stop the embedded servers of data folders and delete all of it."""

import sys
from pathlib import Path

from portal.embedded import Services

for name in sys.argv[1:]:
    Services(Path(name)).remove()
