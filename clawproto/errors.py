"""Exceptions."""


class ClawProtoError(Exception):
    """Base of every exception of this library."""


class Misuse(ClawProtoError):
    """The caller did something that makes no sense at this point. The state is unchanged."""
