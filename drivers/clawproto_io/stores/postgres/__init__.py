"""Credentials, leases and messages of many accounts in PostgreSQL (``clawproto[postgres]``)."""

try:
    from clawproto_io.stores.postgres.accounts import PostgresAccounts, PostgresStore
except ModuleNotFoundError as error:
    if error.name != "psycopg":
        raise
    text = "PostgreSQL stores need an extra: pip install 'clawproto[postgres]'"
    raise ModuleNotFoundError(text, name="psycopg") from None

__all__ = ["PostgresAccounts", "PostgresStore"]
