"""Names of members, shards, fair shares, and what is shown."""

import ast
import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

import clawproto_io.fleet
from clawproto.app_events import CredentialsNeeded, Disconnected, Ready, TokensRotated
from clawproto_cli.fleet.forms import news_form, news_line, person, sum_up
from clawproto_cli.fleet.table import table_of
from clawproto_io.fleet.board import AccountView, FleetNews, Tally, Totals
from clawproto_io.fleet.policy import FleetPolicy
from clawproto_io.fleet.shares import Shard, Share, fair_share, member_name, rank, shard_of

NAMES = [f"agent-{number}" for number in range(200)]


@given(st.integers(1, 9), st.lists(st.text(min_size=1), unique=True))
def test_each_account_is_in_exactly_one_part(count: int, names: list[str]) -> None:
    for name in names:
        assert sum(name in Shard(index, count) for index in range(1, count + 1)) == 1


def test_parts_are_about_equal() -> None:
    sizes = Counter(index for name in NAMES for index in range(1, 5) if name in Shard(index, 4))
    assert min(sizes.values()) >= 30


def test_a_name_tells_the_shard() -> None:
    assert shard_of(member_name("host:1:beef@place:7", Shard(2, 3))) == Shard(2, 3)
    assert shard_of(member_name("host:1:beef", Shard())) == Shard(1, 1)
    for other in ("host:1:beef", "fleet=0/1:x", "fleet=3/2:x", "fleet=1:x", "fleet=1/1", "a fleet=1/1:x"):
        assert shard_of(other) is None


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "a/b", "-1/2", "1/2/3", "\uff12/3", "0/2", "3/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ValueError):
        Shard.parse(text)


@given(st.integers(0, 60), st.integers(1, 9))
def test_equal_members_share_equally(accounts: int, members: int) -> None:
    living = {f"m{number}": Shard() for number in range(members)}
    share = fair_share(Shard(), NAMES[:accounts], living)
    assert share == Share(accounts // members, -(-accounts // members))


@given(st.integers(0, 100), st.lists(st.sampled_from([Shard(), Shard(1, 2), Shard(2, 2), Shard(1, 3)]), min_size=1))
def test_shares_of_unequal_members_cover_what_they_may_take(accounts: int, shards: list[Shard]) -> None:
    living = {f"m{number}": shard for number, shard in enumerate(shards)}
    names = NAMES[:accounts]
    reachable = [name for name in names if any(name in shard for shard in shards)]
    shares = [fair_share(shard, names, living) for shard in shards]
    assert sum(share.low for share in shares) <= len(reachable) <= sum(share.high for share in shares)
    assert all(share.high - share.low in (0, 1) for share in shares)


def test_every_member_has_an_order_of_its_own() -> None:
    first = Counter(max(("a", "b", "c", "d"), key=lambda member: rank(member, name)) for name in NAMES)
    assert min(first.values()) >= 30


@pytest.mark.parametrize(
    "numbers", [{"term_ms": 100}, {"takes_at_once": 0}, {"starts_per_second": 0.0}, {"backoff_first_ms": -1}]
)
def test_numbers_that_cannot_be(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        FleetPolicy(**numbers)


def test_the_deciding_half_knows_no_clock_and_no_loop() -> None:
    folder = Path(str(clawproto_io.fleet.__file__)).parent
    allowed = {"attrs", "collections", "typing", "math", "re", "functools", "hashlib", "clawproto", "clawproto_io"}
    for name in ("messages", "policy", "shares", "lookout", "ownership"):
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        modules = [
            node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert {module.partition(".")[0] for module in modules} <= allowed, name
        ours = {module for module in modules if module.startswith("clawproto_io.")}
        assert ours <= {f"clawproto_io.fleet.{one}" for one in ("messages", "policy", "shares", "lookout")} | {
            "clawproto_io.stores.base"
        }, name


# --- what is shown -------------------------------------------------------------------------------------------------


def test_a_tally_counts_what_a_session_lives_through() -> None:
    tally = Tally()
    tally.note_event(Ready("device", "v2"))
    tally.note_event(TokensRotated(1, 2))
    tally.note_event(TokensRotated(1, 2, adopted=True))
    assert (tally.ready, tally.connects, tally.rotations, tally.counts(None)) == (True, 1, 1, (0, 0))
    tally.note_event(Disconnected(1006, "gone", 500))
    assert (tally.ready, tally.note) == (False, "disconnected 1006 gone")
    tally.note_event(CredentialsNeeded("nothing to refresh with"))
    assert (tally.needs_pairing, tally.note) == (True, "nothing to refresh with")
    tally.begin()
    assert not tally.needs_pairing


ME = member_name("here:17:beef@place:1", Shard())
OTHER = member_name("there:18:cafe@place:1", Shard())


class Shown:
    """A fleet to look at."""

    name = ME
    members = (ME, OTHER)
    totals = Totals(owned=2, ready=1, connects=4, rotations=3, received=7, sent=5)
    store_problem: str | None = None

    def __init__(self, accounts: tuple[AccountView, ...]) -> None:
        self.accounts = accounts

    def stop(self) -> None: ...
    async def wait_stopped(self) -> None: ...


def drawn(fleet: Shown, height: int = 40) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(table_of(fleet, 1_000_000, height))
    return out.getvalue()


ACCOUNTS = (
    AccountView("a-ready", "usr_1", "ready", ME, 1_090_000, 1_030_000, connects=3, rotations=2, received=7, sent=5),
    AccountView("b-elsewhere", "usr_2", "elsewhere", OTHER),
    AccountView("c-unpaired", "usr_3", "unpaired", None, note="logged \x1b[31m out"),
    AccountView("d-waiting", "usr_4", "waiting", ME, failures=2),
    AccountView("e-free", "usr_5", "free", None),
)


def test_the_table_shows_members_and_accounts_and_trouble_first() -> None:
    shown = drawn(Shown(ACCOUNTS))
    assert "2 of 5 accounts here, 1 connected, 2 members, 3 rotations, 7 received, 5 sent" in shown
    assert "1 without an owner, 1 to be paired" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["here:17:beef", "1/1", "2"] in rows and ["there:18:cafe", "1/1", "1"] in rows
    accounts = [row[0] for row in rows if row and row[0][1:2] == "-"]
    assert accounts == ["c-unpaired", "e-free", "d-waiting", "a-ready", "b-elsewhere"]
    (ready,) = (row for row in rows if row and row[0] == "a-ready")
    assert ready == ["a-ready", "ready", "here", "1", "min", "30", "s", "30", "s", "2", "2", "7", "5"]
    assert "\x1b" not in shown and "\\x1b[31m" in shown


def test_a_small_screen_shows_the_troubled_ones() -> None:
    views = tuple(AccountView(f"agent-{number:03}", None, "elsewhere", OTHER) for number in range(100))
    shown = drawn(Shown((*views, ACCOUNTS[2])), height=20)
    assert len(shown.splitlines()) <= 20
    assert "c-unpaired" in shown and "… and 92 more" in shown


def test_an_empty_store_tells_what_to_do_and_a_broken_one_why() -> None:
    fleet = Shown(())
    fleet.store_problem = "db: cannot be reached"
    shown = drawn(fleet)
    assert "clawproto pair CODE" in shown and "cannot be asked: db: cannot be reached" in shown
    assert sum_up(fleet).startswith("2 of 0 accounts here")


def test_news_as_lines_and_as_objects() -> None:
    news = FleetNews("failed", "robo\x1b", detail="disconnected 1006")
    assert news_form(news, 5) == {"event": "failed", "at_ms": 5, "account": "robo\x1b", "detail": "disconnected 1006"}
    line, style = news_line(news, 5)
    assert line.endswith("  robo\\x1b its session failed, it begins again later: disconnected 1006") and style == "red"
    assert news_form(FleetNews("member-gone", member=OTHER), 5) == {
        "event": "member_gone",
        "at_ms": 5,
        "member": OTHER,
    }
    assert "member there:18:cafe has left" in news_line(FleetNews("member-gone", member=OTHER), 5)[0]
    assert person("host:1:beef@place:2") == "host:1:beef"
