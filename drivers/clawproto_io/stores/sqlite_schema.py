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
        # ``writes`` changes with each commit: SQLite does not sync one that leaves every byte as it was.
        """
        CREATE TABLE accounts (
            account INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            writes INTEGER NOT NULL DEFAULT 0
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
    (
        # Rows are never used twice, also if the last one is deleted. ``again``: an earlier content was handled.
        """
        CREATE TABLE arrivals (
            row INTEGER PRIMARY KEY AUTOINCREMENT,
            account INTEGER NOT NULL REFERENCES accounts (account),
            kind TEXT NOT NULL,
            key TEXT,
            content TEXT NOT NULL,
            final INTEGER NOT NULL,
            waiting INTEGER NOT NULL,
            again INTEGER NOT NULL,
            chat_id TEXT,
            message_id TEXT,
            at_ms INTEGER,
            filed_at_ms INTEGER NOT NULL,
            event TEXT NOT NULL,
            UNIQUE (account, kind, key)
        )
        """,
        "CREATE INDEX arrivals_waiting ON arrivals (account, row) WHERE waiting",
        "CREATE INDEX arrivals_done ON arrivals (account, row) WHERE NOT waiting AND kind <> 'read_mark_moved'",
        "CREATE INDEX arrivals_of_chat ON arrivals (account, chat_id, at_ms, row) WHERE kind = 'message_received'",
        "CREATE INDEX arrivals_about ON arrivals (account, message_id, row) WHERE kind = 'reaction_changed'",
        """
        CREATE TABLE sends (
            account INTEGER NOT NULL REFERENCES accounts (account),
            trace_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            message_id TEXT NOT NULL,
            chat_id TEXT NOT NULL,
            event TEXT NOT NULL,
            payload TEXT NOT NULL,
            recipient TEXT,
            created_ms INTEGER NOT NULL,
            outcome TEXT,
            decided_message_id TEXT,
            code TEXT,
            accepted_at_ms INTEGER,
            decided_at_ms INTEGER,
            PRIMARY KEY (account, trace_id),
            CHECK ((outcome IS NULL) = (decided_at_ms IS NULL))
        )
        """,
        "CREATE INDEX sends_by_number ON sends (account, number)",
        "CREATE INDEX sends_undecided ON sends (account, number) WHERE outcome IS NULL",
        """
        CREATE TABLE quarantine (
            row INTEGER PRIMARY KEY AUTOINCREMENT,
            account INTEGER NOT NULL REFERENCES accounts (account),
            content TEXT NOT NULL,
            filed_at_ms INTEGER NOT NULL,
            event TEXT NOT NULL,
            UNIQUE (account, content)
        )
        """,
        "CREATE INDEX quarantine_by_row ON quarantine (account, row)",
    ),
    (
        # Whose the messages are, and the highest number of a send of those that are gone.
        "ALTER TABLE accounts ADD COLUMN messages_of TEXT",
        "ALTER TABLE accounts ADD COLUMN last_number INTEGER NOT NULL DEFAULT 0",
        "UPDATE accounts SET messages_of = (SELECT user_id FROM credentials WHERE account = accounts.account)",
    ),
)

SCHEMA_VERSION = len(MIGRATIONS)

SMALL_TABLES = ("credentials", "accounts", "members", "leases")
"""What is looked through for damage whenever the file is opened."""
