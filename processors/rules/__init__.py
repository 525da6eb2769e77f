"""The pure core: one module per subject, and `apply`, which runs them in the order F1-F9. No clock, no I/O."""
