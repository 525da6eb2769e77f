"""`python -m benchmarks.soak`: millions of events through a whole installation, and what it takes in memory."""
