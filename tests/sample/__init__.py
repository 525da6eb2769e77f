"""The sample history and an independent oracle for what must come out of it."""
