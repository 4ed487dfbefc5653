"""Certificates that are read once for all who verify with them at the same time."""

import os
import ssl
from collections.abc import Callable
from weakref import WeakValueDictionary

_contexts: WeakValueDictionary[tuple[object, ...], ssl.SSLContext] = WeakValueDictionary()


def shared_context(make: Callable[[], ssl.SSLContext], *kind: object) -> ssl.SSLContext:
    """What ``make`` makes, as long as somebody holds one of the same kind, from the same files of the environment."""
    key = (*kind, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = make()
    return context
