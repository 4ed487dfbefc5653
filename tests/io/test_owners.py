"""Names of owners, and that a process counts as gone only if it certainly is."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawproto_io import owners
from clawproto_io.owners import is_gone, new_owner, short_name

CHILD = """
import sys
from clawproto_io.owners import new_owner
print(new_owner(), flush=True)
sys.stdin.read()
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells enough about processes")


@pytest.fixture
def child() -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def name_of(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_names_are_never_the_same_and_short_for_people() -> None:
    one, two = new_owner(), new_owner()
    assert one != two and str(os.getpid()) in short_name(one)
    assert "@" not in short_name(one) and one.startswith(short_name(one))
    assert not is_gone(one), "we are still here"


@linux
def test_a_process_is_gone_when_it_has_ended_and_not_before(child: "subprocess.Popen[str]") -> None:
    name = name_of(child)
    assert not is_gone(name)
    child.send_signal(signal.SIGSTOP)
    assert not is_gone(name), "a paused process comes back"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # its end is there to be asked for, and is not asked for
    assert is_gone(name), "ended, though its parent has not looked"
    child.wait()
    assert is_gone(name)


@linux
def test_a_later_process_with_the_same_id_is_not_taken_for_it() -> None:
    name = new_owner()
    before, _, started = name.rpartition(":")
    assert is_gone(f"{before}:{int(started) - 1}") and not is_gone(name)


@linux
def test_elsewhere_nothing_is_concluded() -> None:
    """Another machine, another boot, or another container: the same id means another process there."""
    gone = "host:4194305:abcdef"  # above the largest id there is
    here = new_owner().partition("@")[2].partition(":")[0]
    assert is_gone(f"{gone}@{here}:5")
    assert not is_gone(f"{gone}@{'0' * 16}:5")


@pytest.mark.parametrize(
    "name",
    ["", "somebody", "host:4194305:abcdef", "host:4194305:abcdef@", "host:0:ab@{here}:5", "host:-1:ab@{here}:5",
     "host:4194305@{here}:5", "host:4194305:ab@{here}", "host:99999999999999999999999:ab@{here}:5"],
)  # fmt: skip
def test_a_name_that_says_too_little_is_alive(name: str) -> None:
    here = new_owner().partition("@")[2].partition(":")[0]
    assert not is_gone(name.replace("{here}", here or "0" * 16))


@linux
@pytest.mark.parametrize("lost", ["self", "boot", "namespace", "everything"])
def test_where_the_system_does_not_tell_names_are_short_and_nobody_is_gone(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = f"host:4194305:abcdef@{new_owner().partition('@')[2].partition(':')[0]}:5"
    assert is_gone(gone)
    if lost != "everything":
        (tmp_path / "self").symlink_to("1" if lost == "self" else str(os.getpid()))
        spaces = tmp_path / str(os.getpid()) / "ns"
        spaces.mkdir(parents=True)
        if lost != "namespace":
            (spaces / "pid").symlink_to("pid:[1]")
        if lost != "boot":
            (tmp_path / "sys/kernel/random").mkdir(parents=True)
            (tmp_path / "sys/kernel/random/boot_id").write_text("80b81d23\n")
    monkeypatch.setattr(owners, "_PROC", tmp_path)
    assert "@" not in new_owner() and not is_gone(gone)


@linux
def test_a_process_that_may_not_be_asked_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    name = new_owner()
    look_up = owners._look_up  # pyright: ignore[reportPrivateUsage]

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(owners, "_look_up", lambda pid: None)
    assert not is_gone(name.rpartition(":")[0] + ":1")
    monkeypatch.setattr(owners, "_look_up", look_up)
    assert is_gone(name.rpartition(":")[0] + ":1"), "it can be looked up after all: it began at another time"
