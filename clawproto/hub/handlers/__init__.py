"""Handlers of uplinks: one file per group of events, each with a table ``HANDLERS``."""
