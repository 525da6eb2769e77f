"""`plaudit sink` as a process with small batches and pauses (tests.projections.sink_child) that can be held, and with a
planted bug.

    python -m tests.chaos.sink_child HOLD REACHED PLANT

It is held like a worker (tests.faults.worker_child). Steps: "announce" (the batch is announced to the group), "table" (in
the database too, and some tables may have their rows), "finish" (all have them, nothing says so yet).
"""

import sys
from pathlib import Path

from deploy.cli.main import run
from projections.sink.store import Store
from tests.chaos.plants import plant
from tests.faults.worker_child import Hold, slow
from tests.projections.sink_child import slow_down

STEPS = {"announce": "announce", "_insert_table": "table", "finish": "finish"}
"""Methods of the store, and what they are called here."""

if __name__ == "__main__":
    files = Hold(Path(sys.argv[1]), Path(sys.argv[2]))
    slow_down()
    for name, step in STEPS.items():
        setattr(Store, name, slow(getattr(Store, name), step, files))
    plant(sys.argv[3])
    sys.exit(run(["sink"]))
