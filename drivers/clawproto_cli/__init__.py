"""The ``clawproto`` command: pair an agent, listen, send, and try everything out on a hub of one's own.

Importing this loads neither event loop nor driver; each command loads what it needs.
"""

from clawproto_cli.app import main

__all__ = ["main"]
