"""``login`` and ``status``: they touch the store and nothing else."""

import json
import os
import stat
import time
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from clawproto.credentials import Credentials, Identity, Intent, TokenPair
from clawproto.secret import Secret
from clawproto_cli.commands.status import examine
from clawproto_io import SqliteStore, StoreKey
from tests.cli.conftest import RunningHub, clawproto, token

IDENTITY = Identity(
    "usr_1", "device-1", "https://chat.example.com", "wss://chat.example.com/ws", "usr_2", None, "cnv_1"
)
LOGIN = ["login", "--base-url", "https://chat.example.com/", "--user-id", "usr_1", "--device-id", "device-1"]


def stored(path: Path) -> Credentials | None:
    async def load() -> Credentials | None:
        store = SqliteStore(path)
        try:
            return await store.load()
        finally:
            await store.aclose()

    return anyio.run(load)


def store_of(path: Path, credentials: Credentials, *, refused: str | None = None, intent: Intent | None = None) -> str:
    async def save() -> None:
        store = SqliteStore(path)
        await store.save(credentials, None)
        if intent is not None:
            await store.record_intent(intent)
        if refused is not None:
            await store.forget(refused, credentials.generation)
        await store.aclose()

    anyio.run(save)
    return str(path)


def credentials(access: str, refresh: str | None = "refresh-secret") -> Credentials:
    pair = TokenPair(Secret(access), None if refresh is None else Secret(refresh))
    return Credentials(IDENTITY, pair, generation=1)


# --- login ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("DEV-4")
def test_login_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    done = clawproto(
        *LOGIN,
        *("--store", str(path), "--conversation-id", "cnv_1", "--owner-id", "usr_2", "--json"),
        CLAWPROTO_ACCESS_TOKEN="access-secret",
        CLAWPROTO_REFRESH_TOKEN="refresh-secret",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["device_id"] == "device-1"
    assert "secret" not in done.stdout + done.stderr
    record = stored(path)
    assert record is not None
    assert record.identity == IDENTITY  # the WebSocket address follows from the base URL
    assert record.tokens == TokenPair(Secret("access-secret"), Secret("refresh-secret"))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_login_from_two_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    done = clawproto(*LOGIN, "--store", str(path), stdin="access-secret\nrefresh-secret\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr
    record = stored(path)
    assert record is not None
    assert record.tokens == TokenPair(Secret("access-secret"), Secret("refresh-secret"))


def test_login_without_a_refresh_token_says_what_that_means(tmp_path: Path) -> None:
    done = clawproto(*LOGIN, "--store", str(tmp_path / "a.db"), stdin="access-secret\n")
    assert done.returncode == 0
    assert "Without a refresh token" in done.stdout


@pytest.mark.parametrize("stdin", ["", "\n\n", "  \nrefresh-secret\n"])
def test_login_without_an_access_token_stores_nothing(tmp_path: Path, stdin: str) -> None:
    path = tmp_path / "a.db"
    done = clawproto(*LOGIN, "--store", str(path), stdin=stdin)
    assert (done.returncode, path.exists()) == (2, False)


def test_login_with_half_of_the_environment_is_wrong_usage(tmp_path: Path) -> None:
    done = clawproto(
        *LOGIN, "--store", str(tmp_path / "a.db"), stdin="x\ny\n", CLAWPROTO_REFRESH_TOKEN="refresh-secret"
    )
    assert done.returncode == 2
    assert "CLAWPROTO_ACCESS_TOKEN is not" in done.stderr


@pytest.mark.rule("PAIR-10")
def test_login_replaces_another_agent_only_on_demand(tmp_path: Path) -> None:
    path = store_of(tmp_path / "a.db", evolve(credentials("other"), identity=evolve(IDENTITY, user_id="usr_9")))
    refused = clawproto(*LOGIN, "--store", path, "--json", stdin="access-secret\nrefresh-secret\n")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"] == "usage"
    assert "usr_9" in refused.stdout
    assert clawproto(*LOGIN, "--store", path, "--replace", stdin="access-secret\nrefresh-secret\n").returncode == 0
    record = stored(tmp_path / "a.db")
    assert record is not None
    assert record.identity.user_id == "usr_1"


@pytest.mark.rule("OUT-9")
def test_login_does_not_take_a_refused_token_back(tmp_path: Path) -> None:
    digest = Secret("access-secret").digest
    path = store_of(tmp_path / "a.db", credentials("access-secret"), refused=digest)
    done = clawproto(*LOGIN, "--store", path, stdin="access-secret\nrefresh-secret\n")
    assert done.returncode == 2
    assert "secret" not in done.stdout + done.stderr


def test_a_file_that_is_no_store_is_returncode_6(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database at all, by any means" * 40)
    for arguments in (["status"], LOGIN):
        done = clawproto(*arguments, "--store", str(path), "--json", stdin="access-secret\nrefresh-secret\n")
        assert (done.returncode, json.loads(done.stdout)["error"]) == (6, "store")
        assert str(path) in done.stdout


# --- status --------------------------------------------------------------------------------------------------------


def status(path: str) -> tuple[int, dict[str, object]]:
    done = clawproto("status", "--store", path, "--json")
    assert "secret" not in done.stdout + done.stderr
    shown: dict[str, object] = json.loads(done.stdout)
    for_people = clawproto("status", "--store", path)
    assert for_people.returncode == done.returncode
    assert str(shown["state"]) in for_people.stdout
    assert "secret" not in for_people.stdout + for_people.stderr
    return done.returncode, shown


def test_status_of_an_empty_store_creates_nothing(tmp_path: Path) -> None:
    code, shown = status(str(tmp_path / "a.db"))
    assert (code, shown["state"], shown["identity"]) == (3, "not-paired", None)
    assert not (tmp_path / "a.db").exists()


def test_status_of_a_usable_pair(tmp_path: Path) -> None:
    code, shown = status(store_of(tmp_path / "a.db", credentials(token(86_000, 86_400))))
    assert (code, shown["state"], shown["refresh_due"], shown["last_error"]) == (0, "usable", False, None)
    expires, earliest, latest = shown["expires_at_ms"], shown["refresh_from_ms"], shown["refresh_until_ms"]
    assert isinstance(expires, int)
    assert isinstance(earliest, int)
    assert isinstance(latest, int)
    lead, jitter = 2 * 3_600_000, 5 * 60_000
    assert (expires - lead - jitter, expires - lead + jitter) == (earliest, latest)
    identity = shown["identity"]
    assert isinstance(identity, dict)
    assert (identity["user_id"], identity["conversation_id"]) == ("usr_1", "cnv_1")


def test_status_of_an_expired_token_is_no_logout(tmp_path: Path) -> None:
    code, shown = status(store_of(tmp_path / "a.db", credentials(token(-10))))
    assert (code, shown["state"], shown["refresh_due"]) == (0, "expired", True)


def test_status_without_a_refresh_token(tmp_path: Path) -> None:
    code, shown = status(store_of(tmp_path / "a.db", credentials(token(100), refresh=None)))
    assert (code, shown["refresh_possible"], shown["refresh_due"]) == (0, False, False)
    assert str(shown["next_refresh"]).startswith("impossible")


@pytest.mark.rule("TOK-6")
def test_status_of_a_token_that_tells_nothing(tmp_path: Path) -> None:
    code, shown = status(store_of(tmp_path / "a.db", credentials(token(None))))
    assert (code, shown["state"], shown["expires_at_ms"]) == (0, "usable", None)
    assert str(shown["next_refresh"]).startswith("unknown")


def test_status_tells_of_a_rotation_without_an_answer(tmp_path: Path) -> None:
    intent = Intent("0" * 32, 1, round(time.time() * 1000))
    code, shown = status(store_of(tmp_path / "a.db", credentials(token()), intent=intent))
    assert code == 0
    assert "not been completed" in str(shown["last_error"])


@pytest.mark.rule("OUT-3")
def test_status_after_a_logout_still_knows_who_it_was(tmp_path: Path) -> None:
    code, shown = status(store_of(tmp_path / "a.db", credentials(token()), refused="0" * 32))
    assert (code, shown["state"]) == (3, "logged-out")
    assert "refused" in str(shown["last_error"])
    identity = shown["identity"]
    assert isinstance(identity, dict)
    assert identity["user_id"] == "usr_1"


def test_status_says_due_from_the_latest_moment_on() -> None:
    record = credentials(token(3600, 3600))
    times = examine(record, round(time.time() * 1000)).times
    assert times is not None
    latest = times[1].refresh_at_ms
    assert not examine(record, latest - 1).is_due
    assert examine(record, latest).is_due
    assert examine(record, latest).next_refresh.startswith("now: ")


def test_an_encrypted_store(hub: RunningHub, tmp_path: Path) -> None:
    store, agent, key = tmp_path / "a.db", hub.next_agent(), StoreKey.generate()
    arguments = ("pair", agent["pairing_code"], "--store", str(store), "--base-url", hub.base_url)
    assert clawproto(*arguments, CLAWPROTO_STORE_KEY=key).returncode == 0
    assert b"sealed:1:" in b"".join(path.read_bytes() for path in tmp_path.glob("a.db*"))
    assert clawproto("status", "--store", str(store), CLAWPROTO_STORE_KEY=key).returncode == 0
    sent = clawproto("send", hub.shared_conversation_id, "hi", "--store", str(store), "--json", CLAWPROTO_STORE_KEY=key)
    assert sent.returncode == 0, sent.stdout
    for wrong in ("", StoreKey.generate(), "nonsense"):
        done = clawproto("status", "--store", str(store), "--json", CLAWPROTO_STORE_KEY=wrong)
        assert (done.returncode, json.loads(done.stdout)["error"]) == (6, "store")
        assert key not in done.stdout + done.stderr and "nonsense" not in done.stdout


# --- many accounts, and addresses ----------------------------------------------------------------------------------


def test_accounts_of_one_store(hub: RunningHub, tmp_path: Path) -> None:
    store, url = str(tmp_path / "agents.db"), f"sqlite://{tmp_path}/agents.db"
    users: dict[str, str] = {}
    for name, where in (("sales", store), ("support", url)):
        agent = hub.next_agent()
        arguments = ("pair", agent["pairing_code"], "--store", where, "--account", name, "--base-url", hub.base_url)
        done = clawproto(*arguments)
        assert done.returncode == 0, done.stderr
        assert f"(account {name})" in done.stdout and f"--account {name}" in done.stdout
        shown = json.loads(clawproto("status", "--store", url, "--account", name, "--json").stdout)
        assert (shown["account"], shown["store"], shown["state"]) == (name, url, "usable")
        users[name] = shown["identity"]["user_id"]
    assert len(set(users.values())) == 2
    assert clawproto("status", "--store", store).returncode == 3, "nobody is paired as the default account"
    sent = clawproto("send", hub.shared_conversation_id, "hi", "--store", store, "--account", "sales", "--json")
    assert sent.returncode == 0, sent.stdout
    login = clawproto(*LOGIN, "--store", url, "--account", "third", stdin="access-secret\n")
    assert login.returncode == 0 and "(account third)" in login.stdout


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    for arguments, code, text in (
        (("--store", "redis://me:secret@host"), 2, "no store of the kind redis"),
        (("--store", "sqlite://host/a.db"), 2, "with three slashes"),
        (("--store", str(tmp_path / "a.db"), "--account", " "), 2, "printable characters"),
    ):
        done = clawproto("status", *arguments, "--json")
        assert (done.returncode, text in done.stdout, "secret" in done.stdout) == (code, True, False), done.stdout
    assert clawproto("status", "--store", str(tmp_path)).returncode == 2, "a directory is no store"
