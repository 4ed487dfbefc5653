"""What a field of a payload comes to: its value, nothing (ENV-13), or no payload at all."""

LEAST, MOST = -(2**63), 2**63 - 1  # of an integer (ENV-14)


class Unusable(Exception):
    """The payload lacks what its event cannot do without; the text says which field, and what is wrong with it."""


def optional_string(value: object, _type: object = None) -> str | None:
    """A decoded JSON value if it is a string."""
    return value if type(value) is str else None


def optional_integer(value: object, _type: object = None) -> int | None:
    """A decoded JSON value if it is an integer of 64 bits. ``true`` and ``1.0`` are none (ENV-14, R2-31)."""
    return value if type(value) is int and LEAST <= value <= MOST else None
