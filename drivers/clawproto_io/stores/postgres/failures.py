"""What PostgreSQL answered, told as a problem and the way out.

No text of the server is passed on: a statement's error may quote what was to be stored, and a connection's may quote
the connection string. What is told is the meaning of the error, and its SQLSTATE to look up.
"""

import psycopg

# While a connection is made there is no SQLSTATE to go by, only the server's text: English unless it is set otherwise,
# and then the general answer is given.
_AT_CONNECT = (
    ("password authentication failed", "refuses the user or the password; check both in the connection string"),
    ("no password supplied", "asks for a password; put it in the connection string, in PGPASSWORD or in ~/.pgpass"),
    ("no pg_hba.conf entry", "does not let this user in from this machine; see its pg_hba.conf, and sslmode"),
    ("too many c", "has no connection left; raise max_connections, or let fewer processes share it"),
    ("remaining connection slots", "has no connection left; raise max_connections, or let fewer processes share it"),
    ("the database system is", "is starting, stopping or recovering; try again"),
    ("role ", "does not know the user; create it: CREATE ROLE … LOGIN"),
    ("database ", "does not have the database; create it: CREATE DATABASE … ENCODING 'UTF8'"),
    ("certificate", "or this client could not prove who it is; check sslmode, sslrootcert and sslcert"),
    ("does not support SSL", "offers no TLS, which sslmode asks for; turn it on there"),
    ("session is read-only", "takes no writes: a standby; name the primary as well in the connection string"),
)
_UNREACHABLE = "the server cannot be reached; check host and port, and that it runs"
_TEXT = "cannot hold a text that is not valid Unicode or has a NUL in it; nothing was written"
_STANDBY = "takes no writes: it is a standby; name the primary, or several hosts with target_session_attrs=read-write"

# By SQLSTATE; where there is no entry, by its first three characters, or by its class, the first two.
_PROBLEMS = {
    "08": "lost the connection; try again",
    "0A000": _STANDBY,  # the answer of a standby to BEGIN READ WRITE
    "22021": _TEXT,
    "22P05": "has another encoding than UTF8, which clawproto needs; create the database anew",
    "23": "refused rows that do not fit each other; was the schema changed by hand?",
    "25006": _STANDBY,
    "25P03": "ended a transaction that stood still, as that of a paused process does; nothing was written",
    "28": "refuses the user; check user and password in the connection string",
    "3D000": "does not have the database; create it: CREATE DATABASE … ENCODING 'UTF8'",
    "40": "was asked for the same rows by several processes at once; nothing was written, try again",
    "42501": "does not give this user the rights that are needed; see docs/postgres.md",
    "42P07": "has tables of these names that are not ours; name a schema for clawproto alone",
    "42": "has tables that do not fit; was the schema changed by hand?",
    "53100": "has no room: its disk is full; free some space there",
    "53200": "is out of memory; nothing was written",
    "53300": "has no connection left; raise max_connections, or let fewer processes share it",
    "53": "is short of something; see its log",
    "55P03": "was asked for rows that another process holds; nothing was written, try again",
    "57014": "gave up because it took too long; nothing was written, try again",
    "57P": "is shutting down or restarting; try again",
    "57": "was interrupted by its operator; try again",
    "58": "has trouble with its own files; see its log",
    "XX": "found damage in its own files; see its log",
}
_UNKNOWN = "could not do it; see its log"


def at_connect(error: psycopg.Error) -> str:
    """What came of trying to connect."""
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return "the server did not answer in time; check host and port, the server and the network"
    text = str(error)
    if not any(sign in text for sign in ("FATAL:", "certificate", "SSL", "read-only", "no password")):
        return _UNREACHABLE
    told = text.rpartition("FATAL:")[2]
    problem = next((problem for sign, problem in _AT_CONNECT if sign in told), "refuses the connection; see its log")
    return f"the server {problem}"


def at_work(error: psycopg.Error | UnicodeError, *, lost: bool, committing: bool) -> str:
    """What came of a statement.

    Raise what it says outside of the handler that caught ``error``, which must not hang on as its context.

    Args:
        lost: the connection is gone.
        committing: the commit had been asked for, and nobody knows whether it was done.
    """
    if isinstance(error, UnicodeError) or (isinstance(error, psycopg.DataError) and error.sqlstate is None):
        return _TEXT
    state = error.sqlstate
    named = "" if state is None else f" (SQLSTATE {state})"
    if lost:
        return f"the connection was lost{named}; {_done(committing)}; the next operation connects again"
    candidates = () if state is None else (state, state[:3], state[:2])
    problem = next((_PROBLEMS[part] for part in candidates if part in _PROBLEMS), _UNKNOWN)
    return f"the server {problem}{named}"


def too_late(seconds: float, *, committing: bool) -> str:
    """The server took an operation and never answered."""
    return f"the server did not answer within {seconds:g} s; {_done(committing)}; check the server and its disk"


def _done(committing: bool) -> str:
    return "it may have been written, and repeating it does no harm" if committing else "nothing was written"
