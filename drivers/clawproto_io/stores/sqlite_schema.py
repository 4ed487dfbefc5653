"""What is in the SQLite file of a store, version by version.

accounts --- credentials   one record
         '-- leases        who holds the session ---> members   processes, with their signs of life
"""

APPLICATION_ID = 0x436C6177  # "Claw"; tells our files from other SQLite databases

# One entry a version: the statements that lead to it from the version before. Entries are never edited, only added.
# Rows of all tables refer to ``account``, a number that stands for the account's name.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE credentials (
            account INTEGER PRIMARY KEY,
            user_id TEXT NOT NULL,
            device_id TEXT,
            base_url TEXT NOT NULL,
            ws_url TEXT NOT NULL,
            owner_id TEXT,
            agent_id TEXT,
            conversation_id TEXT,
            socket_device_id TEXT,
            access_token TEXT,
            refresh_token TEXT,
            obtained_at_ms INTEGER,
            generation INTEGER NOT NULL CHECK (generation >= 0),
            intent_digest TEXT,
            intent_generation INTEGER,
            intent_wall_ms INTEGER,
            refused TEXT,
            CHECK (access_token IS NOT NULL OR (refresh_token IS NULL AND intent_digest IS NULL))
        )
        """,
    ),
    (
        """
        CREATE TABLE leases (
            account INTEGER PRIMARY KEY,
            owner TEXT,
            fence INTEGER NOT NULL,
            beat INTEGER NOT NULL
        )
        """,
    ),
    (
        """
        CREATE TABLE accounts (
            account INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE
        )
        """,
        """
        INSERT INTO accounts (account, name)
        SELECT 1, 'default' FROM (SELECT account FROM credentials UNION SELECT account FROM leases) WHERE account = 1
        """,
        # The sign of life moves from the lease to its owner, who may own many.
        """
        CREATE TABLE members (
            owner TEXT PRIMARY KEY,
            beat INTEGER NOT NULL,
            joined INTEGER NOT NULL
        )
        """,
        "INSERT INTO members (owner, beat, joined) SELECT owner, beat, 0 FROM leases WHERE owner IS NOT NULL",
        "ALTER TABLE leases RENAME TO leases_with_beats",
        """
        CREATE TABLE leases (
            account INTEGER PRIMARY KEY REFERENCES accounts (account),
            owner TEXT REFERENCES members (owner),
            fence INTEGER NOT NULL
        )
        """,
        "INSERT INTO leases (account, owner, fence) SELECT account, owner, fence FROM leases_with_beats",
        "DROP TABLE leases_with_beats",
        "CREATE INDEX leases_of_owner ON leases (owner)",
    ),
)

SCHEMA_VERSION = len(MIGRATIONS)

SMALL_TABLES = ("credentials", "accounts", "members", "leases")
"""What is looked through for damage whenever the file is opened."""
