"""What is to be simulated: how many sessions, for how long, and what goes wrong when. Small values with a text form.

plan = Plan(seed=1, sessions=1000, hours=24, faults=(parse_fault("outage@6h+1h"),))
"""

import hashlib
import re
from typing import Literal, TypeAlias, get_args

from attrs import field
from attrs.validators import ge, in_

from clawproto.deferred import frozen
from clawproto.entropy import unit
from clawproto.policy import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Policy

Kind: TypeAlias = Literal["deploy", "outage", "restart", "revocation", "partition", "suspend", "skew", "slow-disk"]
KINDS: tuple[str, ...] = get_args(Kind)
WINDOWS = ("outage", "partition", "suspend", "slow-disk")
"""Kinds that mean nothing without a duration."""

_OPTIONS: dict[str, tuple[str, ...]] = {
    "deploy": (),
    "outage": (),
    "restart": ("share",),
    "revocation": ("share", "of"),
    "partition": ("share",),
    "suspend": ("share",),
    "skew": ("share", "by"),
    "slow-disk": ("share", "by", "fail"),
}


@frozen(kw_only=True)
class Fault:
    """One thing that happens to all sessions, or to a share of them.

    Attributes:
        kind: deploy: the sessions start, newly paired, within the duration. outage: every socket breaks, and nothing
            can be reached. restart: the processes are killed within the duration, and start again. revocation: the
            tokens are revoked. partition: packets vanish. suspend: the machines sleep. skew: the wall clocks are off by
            ``by``, for the duration or for good. slow-disk: an operation of the store takes ``by``.
        at_ms: since the begin of the simulation.
        for_ms: duration; 0 if there is none.
        share: of the sessions that are struck, 0 to 1; which ones is drawn from the seed.
        by_ms: how far a clock jumps, how long a disk takes.
        fail: share of the store's operations that fail.
        of: what is revoked: the whole session, or the access token alone, which a refresh heals.
    """

    kind: Kind = field(validator=in_(KINDS))
    at_ms: int = field(validator=ge(0))
    for_ms: int = field(default=0, validator=ge(0))
    share: float = 1.0
    by_ms: int = 0
    fail: float = 0.0
    of: Literal["session", "access"] = "session"

    @property
    def end_ms(self) -> int:
        return self.at_ms + self.for_ms

    def __str__(self) -> str:
        text = f"{self.kind}@{duration(self.at_ms)}"
        if self.for_ms:
            text += f"+{duration(self.for_ms)}"
        options = _OPTIONS[self.kind]
        if "by" in options:
            text += f",by={duration(self.by_ms)}"
        if self.fail:
            text += f",fail={self.fail:.10g}"
        if self.of != "session":
            text += f",of={self.of}"
        return text if self.share == 1 else f"{text},share={self.share:.10g}"


@frozen(kw_only=True)
class Timings:
    """How long the world takes, in milliseconds; fixed, so that nothing but jitter spreads the load.

    Attributes:
        open_ms: name lookup, TCP, TLS and upgrade.
        one_way_ms: a frame from one side to the other.
        http_ms: a refresh, from the request to the answer; the server acts in the middle of it.
        disk_ms: one operation of a healthy store.
        boot_ms: a process from its death to its next start.
        hub_ping_ms: interval of the hub's own pings (HB-1).
        hub_pong_ms: how long the hub waits for a pong before it drops a socket (HB-1).
    """

    open_ms: int = 120
    one_way_ms: int = 40
    http_ms: int = 120
    disk_ms: int = 5
    boot_ms: int = 2_000
    hub_ping_ms: int = 30_000
    hub_pong_ms: int = 70_000


@frozen(kw_only=True)
class Plan:
    """Everything that a simulation depends on. Equal plans give equal results, byte for byte.

    Attributes:
        refresh_mode: whether a spent refresh token can be redeemed again within 90 s (REF-8).
    """

    seed: int = 1
    sessions: int = field(default=100, validator=ge(1))
    hours: float = field(default=24.0, validator=ge(0))
    faults: tuple[Fault, ...] = ()
    jitter: bool = True
    token_life_ms: int = field(default=DAY_MS, validator=ge(1))
    refresh_mode: Literal["strict", "grace"] = "strict"
    timings: Timings = Timings()

    @property
    def end_ms(self) -> int:
        return round(self.hours * HOUR_MS)

    @property
    def policy(self) -> Policy:
        """The defaults of the library; without jitter, everything that is drawn has a range of nothing."""
        if self.jitter:
            return Policy()
        return Policy(jitter_ms=0, reconnect_jitter=0.0, refresh_backoff_jitter=0.0)

    @property
    def key(self) -> bytes:
        """The seed as bytes, for `clawproto.entropy`."""
        return hashlib.blake2b(f"simulation {self.seed}".encode(), digest_size=16).digest()

    @property
    def disturbances(self) -> tuple[Fault, ...]:
        """The faults without the deployments."""
        return tuple(fault for fault in self.faults if fault.kind != "deploy")

    def session_seed(self, number: int, process: int) -> bytes:
        """The seed of one session's core; each process that runs it has another one, as with the drivers."""
        text = f"{number}/{process}".encode()
        return hashlib.blake2b(text, key=self.key, digest_size=16).digest()

    def strikes(self, index: int, number: int) -> bool:
        """Whether fault ``index`` concerns session ``number``."""
        share = self.faults[index].share
        return share >= 1 or unit(self.key, f"share {index}", number) < share

    def instant_in(self, index: int, number: int) -> int:
        """When fault ``index`` comes to session ``number``, for those that come to one session after the other."""
        fault = self.faults[index]
        return fault.at_ms + (int(unit(self.key, f"when {index}", number) * fault.for_ms) if fault.for_ms else 0)

    def start_of(self, number: int) -> int:
        """When session ``number`` starts: at a deployment, drawn if there are several, or at the beginning."""
        deployments = [index for index, fault in enumerate(self.faults) if fault.kind == "deploy"]
        if not deployments:
            return 0
        chosen = deployments[int(unit(self.key, "deployment", number) * len(deployments))]
        return self.instant_in(chosen, number)


# --- text ----------------------------------------------------------------------------------------------------------

_UNITS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def parse_duration(text: str) -> int:
    """``1h30m``, ``90s``, ``250ms``, ``-3m``, ``0`` as milliseconds.

    Raises:
        ValueError: it is none.
    """
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return 0
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f"{text!r} is no duration; 1h30m, 90s, 250ms are some")
    return sign * round(sum(float(number) * _UNITS[unit] for number, unit in parts))


def duration(milliseconds: int) -> str:
    """The text form: the inverse of `parse_duration`."""
    text, rest = ("-" if milliseconds < 0 else ""), abs(milliseconds)
    if not rest:
        return "0"
    for name, size in (("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS), ("ms", 1)):
        count, rest = divmod(rest, size)
        text += f"{count}{name}" if count else ""
    return text


def _share(text: str) -> float:
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is no share; 20% and 0.2 are some")
    return value


SCENARIOS: dict[str, str] = {
    "deploy": "deploy@0+10m",
    "outage": "outage@6h+1h",
    "restart": "restart@8h",
    "revocation": "revocation@4h,share=10%",
    "partition": "partition@6h+10m,share=50%",
    "suspend": "suspend@2h+8h,share=50%",
    "skew": "skew@3h,by=10m,share=50%",
    "slow-disk": "slow-disk@21h+2h,by=5s,share=50%",
}
"""What a fault means that is named without a time."""


def parse_fault(text: str) -> Fault:
    """``KIND@TIME[+DURATION][,OPTION=VALUE…]`` as a value; or a kind alone, which stands for one of `SCENARIOS`.

    Raises:
        ValueError: with what is wrong.
    """
    head, *options = SCENARIOS.get(text, text).split(",")
    kind, at, when = head.partition("@")
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no fault; there are {', '.join(KINDS)}")
    if not at:
        raise ValueError(f"{text!r} does not say when; {kind}@6h does")
    begin, _, length = when.partition("+")
    values: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in _OPTIONS[kind]:
            raise ValueError(f"{kind} has no option {name!r}; it has {', '.join(_OPTIONS[kind]) or 'none'}")
        values[name] = value
    of = values.get("of", "session")
    if of not in ("session", "access"):
        raise ValueError(f"of={of}: it is session or access")
    by_ms = parse_duration(values["by"]) if "by" in values else 2_000 if kind == "slow-disk" else 0
    fault = Fault(
        kind=kind,  # type: ignore[arg-type]  # checked above
        at_ms=parse_duration(begin),
        for_ms=parse_duration(length) if length else 0,
        share=_share(values.get("share", "1")),
        by_ms=by_ms,
        fail=_share(values.get("fail", "0")),
        of=of,  # type: ignore[arg-type]  # checked above
    )
    _check_sense(fault)
    return fault


def _check_sense(fault: Fault) -> None:
    if fault.kind in WINDOWS and not fault.for_ms:
        raise ValueError(f"{fault.kind} needs a duration: {fault.kind}@{duration(fault.at_ms)}+10m")
    if fault.kind == "revocation" and fault.for_ms:
        raise ValueError("a revocation has no duration")
    if fault.kind == "skew" and not fault.by_ms:
        raise ValueError(f"skew needs to know by how much: skew@{duration(fault.at_ms)},by=3m")
    if fault.kind == "slow-disk" and fault.by_ms < 0:
        raise ValueError("a disk takes no negative time")
