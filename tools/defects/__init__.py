"""Deliberate defects of the core, and which of the explorer and the tests notices each: ``python -m tools.defects``."""
