"""Pure row builders: records of the derived topics in, rows of the tables out. No clock, no look-ups, no I/O."""

from projections.rows.batch import Rows, version

__all__ = ["Rows", "version"]
