"""Standard-library logging under ``clawproto``; silent until the application configures a handler."""

import logging

logging.getLogger("clawproto").addHandler(logging.NullHandler())


def logger(topic: str) -> logging.Logger:
    """The logger ``clawproto.<topic>``."""
    return logging.getLogger(f"clawproto.{topic}")
