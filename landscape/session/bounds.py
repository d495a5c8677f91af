"""Bound the numbers that users and files give: beyond these a run would not end, or the machine would give way.

Each bound is far above any use that makes sense, and below what makes a list, a plan or a library fail.
"""

from __future__ import annotations

MOST_SEED = 2**63 - 1
"""Largest seed. numpy's Philox takes keys up to 2⁶⁴ − 1 and torch's generators up to 2⁶³ − 1 as signed numbers, and
seeds are stored in int64."""
MOST_THREADS = 1024
"""Most threads of one process: no machine has more cores, and torch ends with a fault of the system at 100,000."""
MOST_BATCH = 2**14
"""Most windows in a forward pass; measured batches have 64 at most."""
MOST_VERSION = 2**31 - 1
"""Largest version of the evaluation."""
