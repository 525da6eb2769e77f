"""How worker and sink are seen from outside, and how long they take to end."""

from typing import Final

LOOPBACK: Final = "127.0.0.1"
"""Where they serve metrics and probes unless told otherwise: nobody is asked who they are there."""

GRACE_S: Final = 25.0
"""How long they may take to end in order; below the 30 s after which supervisors kill by default."""
