"""Measurements: `make bench`, or `python -m benchmarks --help`. What each figure means stands in its module."""
