"""`plaudit sink` as a process with small batches and pauses (tests.projections.sink_child), and with a planted bug.

python -m tests.chaos.sink_child PLANT
"""

import sys

from deploy.cli.main import run
from tests.chaos.plants import plant
from tests.projections.sink_child import slow_down

if __name__ == "__main__":
    slow_down()
    plant(sys.argv[1])
    sys.exit(run(["sink"]))
