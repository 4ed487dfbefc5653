"""The maths of time: when a token is due, how long to wait. Pure functions on integers of milliseconds.

Rules: TOK-4 to TOK-11, TOK-19, TOK-20, REF-20, REF-47, CLOSE-3.

    issued                          near expiry    refresh_at ± jitter       expiry
      |------------- life -------------|----------------|----------------------|
                                       |<------------ lead ------------------->|
"""

import re

from attrs import frozen

from clawproto.jwt import read_claims
from clawproto.policy import Policy
from clawproto.secret import Secret


@frozen
class TokenTimes:
    """When an access token falls due.

    Attributes:
        expires_at_ms: epoch milliseconds, on the server's clock if `server_clock`, else on the local one.
        life_ms: from issue to expiry; the fallback where the token does not tell (TOK-8).
        lead_ms: how long before expiry it counts as near expiry, clipped (TOK-7, TOK-19).
        refresh_at_ms: expiry − lead + jitter, the jitter drawn once (TOK-10).
        server_clock: the expiry is a claim of the token (TOK-20), not counted from the time it was obtained (TOK-4).
    """

    expires_at_ms: int
    life_ms: int
    lead_ms: int
    refresh_at_ms: int
    server_clock: bool

    def local(self, instant_ms: int, offset_ms: int) -> int:
        """Translate one of the instants above to the local wall clock."""
        return instant_ms - offset_ms if self.server_clock else instant_ms

    def is_near_expiry(self, wall_ms: int, offset_ms: int) -> bool:
        """Whether now is at or past expiry − lead, without jitter (TOK-11)."""
        return wall_ms >= self.local(self.expires_at_ms - self.lead_ms, offset_ms)


def earliest(*dues: int | None) -> int | None:
    """The first of these instants; None stands for never."""
    first = None
    for due in dues:
        if due is not None and (first is None or due < first):
            first = due
    return first


def lead_ms(life_ms: int | None, policy: Policy) -> int:
    """The unclipped lead: a quarter of the life, between 30 minutes and 2 hours (TOK-7, TOK-9).

    ``life_ms`` None means unknown: the fallback life is taken (TOK-8).
    """
    life = policy.fallback_life_ms if life_ms is None else life_ms
    return max(policy.lead_min_ms, min(policy.lead_max_ms, life // 4))


def jitter_range_ms(life_ms: int, policy: Policy) -> tuple[int, int, int]:
    """``(lead, earliest jitter, latest jitter)`` for a life, clipped so that short lives neither storm nor are always
    due (TOK-19). For lives of 70 minutes and more this is the plain lead and ±5 minutes, exactly."""
    lead = lead_ms(life_ms, policy)
    if not policy.clip_short_lives or life_ms <= 0:
        return lead, -policy.jitter_ms, policy.jitter_ms
    half = life_ms // 2
    clipped = min(lead, half)
    return clipped, -min(policy.jitter_ms, half - clipped), min(policy.jitter_ms, clipped // 2)


def token_times(access: Secret, obtained_at_ms: int | None, unit: float, policy: Policy) -> TokenTimes | None:
    """When ``access`` is due, or None if its expiry is unknown (TOK-6).

    Args:
        obtained_at_ms: wall clock at pairing or at the end of the refresh (TOK-5).
        unit: the token's jitter as a number in [0, 1), drawn once per token (TOK-10).
    """
    claims = read_claims(access.reveal())
    if claims.exp_ms is not None:
        expires_at, server_clock = claims.exp_ms, True
    elif obtained_at_ms is not None:
        expires_at, server_clock = obtained_at_ms + policy.fallback_life_ms, False
    else:
        return None
    life = policy.fallback_life_ms if claims.iat_ms is None else expires_at - claims.iat_ms
    lead, earliest, latest = jitter_range_ms(life, policy)
    jitter = round(earliest + unit * (latest - earliest))
    return TokenTimes(expires_at, life, lead, expires_at - lead + jitter, server_clock)


def clock_offset(raw_ms: int, applied_ms: int, policy: Policy) -> int:
    """The offset to apply from now on, given a new estimate (server minus local) and the one in force (TOK-20).

    Estimates within the tolerance count as zero; one that differs from the offset in force by less than the tolerance
    changes nothing, so that network delay does not make it flutter.
    """
    if abs(raw_ms) <= policy.clock_tolerance_ms:
        return 0
    return applied_ms if applied_ms and abs(raw_ms - applied_ms) <= policy.clock_tolerance_ms else raw_ms


def refresh_backoff_ms(failures: int, unit: float, policy: Policy) -> int:
    """Wait after the ``failures``-th transient outcome in a row; never above the ceiling (REF-20)."""
    base = _doubled(policy.refresh_backoff_first_ms, failures, policy.refresh_backoff_max_ms)
    spread = base * policy.refresh_backoff_jitter
    return min(policy.refresh_backoff_max_ms, round(base - spread + unit * 2 * spread))


def save_backoff_ms(failures: int, policy: Policy) -> int:
    """Wait after the ``failures``-th failed save in a row (REF-10)."""
    return _doubled(policy.save_retry_first_ms, failures, policy.save_retry_max_ms)


def reconnect_delay_ms(attempts: int, unit: float, policy: Policy, floor_ms: int = 0) -> int:
    """Wait before the next socket after ``attempts`` unsuccessful ones, at least ``floor_ms``; jitter comes on top
    (CLOSE-2, CLOSE-3), so that those who were cut off together do not come back together."""
    base = max(floor_ms, _doubled(policy.reconnect_first_ms, attempts, policy.reconnect_max_ms))
    return base + round(base * policy.reconnect_jitter * unit)


def takeover_floor_ms(takeovers: int, policy: Policy) -> int:
    """Least wait after the ``takeovers``-th eviction within the window (CLOSE-5, O-10)."""
    return _doubled(policy.unexplained_floor_ms, takeovers, policy.takeover_max_ms)


def _doubled(first_ms: int, count: int, ceiling_ms: int) -> int:
    """``first`` doubled ``count - 1`` times, at most the ceiling."""
    return min(ceiling_ms, first_ms << min(max(count - 1, 0), 40))


def retry_after_ms(value: str | None, wall_ms: int, policy: Policy) -> int:
    """A ``Retry-After`` header as a delay: seconds or an HTTP date, at most one hour, 0 if absent or unreadable
    (REF-47)."""
    if value is None:
        return 0
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(policy.retry_after_max_ms, int(text[:12]) * 1000)
    date = http_date_ms(text)
    return 0 if date is None else max(0, min(policy.retry_after_max_ms, date - wall_ms))


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES = (
    re.compile(rf"[a-z]{{3}}, (?P<day>\d\d) (?P<month>[a-z]{{3}}) (?P<year>\d{{4}}) {_TIME} GMT", re.I | re.A),
    re.compile(rf"[a-z]{{6,9}}, (?P<day>\d\d)-(?P<month>[a-z]{{3}})-(?P<year>\d\d) {_TIME} GMT", re.I | re.A),
    re.compile(rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})", re.I | re.A),
)


def http_date_ms(text: str) -> int | None:
    """An HTTP date in any of its three forms (RFC 9110, 5.6.7) as epoch milliseconds, or None if it is none."""
    match = next(filter(None, (form.fullmatch(text.strip()) for form in _DATES)), None)
    if match is None or match["month"].lower() not in _MONTHS:
        return None
    year, month, day = int(match["year"]), _MONTHS.index(match["month"].lower()) + 1, int(match["day"])
    if len(match["year"]) == 2:
        year += 2000 if year < 70 else 1900
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if not (1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    return (((_days_since_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000


def _days_since_epoch(year: int, month: int, day: int) -> int:
    """Days of the Gregorian calendar; the year is taken to begin in March, so that the leap day comes last."""
    shifted = year - (month <= 2)
    era_year = shifted % 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return (shifted // 400) * 146_097 + era_year * 365 + era_year // 4 - era_year // 100 + day_of_year - 719_468
