"""The verifier: computes from the input log what the topics, the state and the tables must hold, and says what differs.

It shares no code with the engine and the sink beyond the rules themselves, so that a mistake of theirs is not its own.
"""

from projections.verifier.report import Counts, Difference, Kind, Report
from projections.verifier.run import verify

__all__ = ["Counts", "Difference", "Kind", "Report", "verify"]
