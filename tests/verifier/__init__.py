"""The verifier against what was done to an installation on purpose."""
