"""The maths of time, against the tables of the protocol and against plain re-statements of its formulas."""

from datetime import UTC, datetime
from email.utils import format_datetime, formatdate
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from clawproto.json_types import Json
from clawproto.policy import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Policy
from clawproto.secret import Secret
from clawproto.timing import (
    TokenTimes,
    clock_offset,
    earliest,
    http_date_ms,
    jitter_range_ms,
    lead_ms,
    reconnect_delay_ms,
    refresh_backoff_ms,
    retry_after_ms,
    save_backoff_ms,
    takeover_floor_ms,
    token_times,
)
from tests.core.harness import T0, jwt

POLICY = Policy()
units = st.floats(0, 1, exclude_max=True)


def times(token: str, unit: float = 0.5, obtained_ms: int | None = None, policy: Policy = POLICY) -> TokenTimes:
    found = token_times(Secret(token), obtained_ms, unit, policy)
    assert found is not None
    return found


def due_after(life_ms: int, unit: float = 0.5) -> int:
    """Milliseconds from the issue to the refresh, with the jitter at ``unit`` of its range."""
    return times(jwt("t", life_ms=life_ms), unit).refresh_at_ms - T0


# --- lead ----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-7")
@pytest.mark.parametrize(
    ("life", "lead"),
    [
        (24 * HOUR_MS, 2 * HOUR_MS),
        (8 * HOUR_MS, 2 * HOUR_MS),
        (8 * HOUR_MS - 4, 2 * HOUR_MS - 1),
        (6 * HOUR_MS, 90 * MINUTE_MS),
        (2 * HOUR_MS, 30 * MINUTE_MS),
        (2 * HOUR_MS + 4, 30 * MINUTE_MS + 1),
        (70 * MINUTE_MS, 30 * MINUTE_MS),
        (1, 30 * MINUTE_MS),
    ],
)
def test_lead_is_a_quarter_of_the_life_within_bounds(life: int, lead: int) -> None:
    assert lead_ms(life, POLICY) == lead


@pytest.mark.rule("TOK-7")
def test_lead_is_a_whole_number_of_milliseconds() -> None:
    assert repr(lead_ms(10_000_003, POLICY)) == "2500000"


@pytest.mark.rule("TOK-8")
def test_without_issue_time_the_life_counts_as_a_day() -> None:
    found = times(jwt("t", issued_ms=None, expires_ms=T0 + HOUR_MS))
    assert (found.life_ms, found.lead_ms) == (DAY_MS, 2 * HOUR_MS)
    assert found.refresh_at_ms == T0 + HOUR_MS - 2 * HOUR_MS
    assert lead_ms(None, POLICY) == 2 * HOUR_MS


@pytest.mark.rule("TOK-9", "D-9")
@pytest.mark.parametrize("behind", [0, SECOND_MS, DAY_MS])
def test_issue_at_or_after_expiry_gives_the_least_lead(behind: int) -> None:
    found = times(jwt("t", issued_ms=T0 + behind, expires_ms=T0))
    assert found.lead_ms == 30 * MINUTE_MS
    assert found.refresh_at_ms == T0 - 30 * MINUTE_MS


@pytest.mark.rule("TOK-3")
@pytest.mark.parametrize("iat", ["1790000000", True, None, [], {}])
def test_a_bad_issue_time_leaves_the_expiry_alone(iat: Json) -> None:
    token = jwt("t", issued_ms=None, expires_ms=T0 + HOUR_MS, iat=iat)
    found = times(token)
    assert (found.expires_at_ms, found.life_ms) == (T0 + HOUR_MS, DAY_MS)


# --- expiry --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-4", "TOK-5")
def test_without_expiry_a_token_lives_a_day_from_when_it_was_obtained() -> None:
    found = times("opaque", obtained_ms=T0 - HOUR_MS)
    assert (found.expires_at_ms, found.lead_ms, found.server_clock) == (T0 + 23 * HOUR_MS, 2 * HOUR_MS, False)


@pytest.mark.rule("TOK-4")
def test_the_expiry_of_the_token_wins_over_when_it_was_obtained() -> None:
    assert times(jwt("t", life_ms=HOUR_MS), obtained_ms=T0 + 5 * HOUR_MS).expires_at_ms == T0 + HOUR_MS


@pytest.mark.rule("TOK-6", "TOK-2")
@pytest.mark.parametrize("token", ["opaque", "", "a.b.c", "..", "a.e30.c", "a.bnVsbA.c"])
def test_with_neither_there_are_no_times(token: str) -> None:
    assert token_times(Secret(token), None, 0.5, POLICY) is None


@pytest.mark.rule("TOK-11")
def test_near_expiry_begins_with_the_lead_and_knows_no_jitter() -> None:
    for unit in (0.0, 0.999):
        found = times(jwt("t"), unit)
        assert not found.is_near_expiry(T0 + 22 * HOUR_MS - 1, 0)
        assert found.is_near_expiry(T0 + 22 * HOUR_MS, 0)
        assert found.is_near_expiry(T0 + 100 * DAY_MS, 0), "expired is near expiry"


@pytest.mark.rule("TOK-20")
def test_claims_are_on_the_servers_clock_and_obtained_times_on_ours() -> None:
    ahead = HOUR_MS  # the server's clock is an hour ahead
    assert times(jwt("t")).is_near_expiry(T0 + 21 * HOUR_MS, ahead)
    assert not times(jwt("t")).is_near_expiry(T0 + 21 * HOUR_MS - 1, ahead)
    assert not times("opaque", obtained_ms=T0).is_near_expiry(T0 + 22 * HOUR_MS - 1, ahead)


# --- jitter and clipping -------------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-10")
@given(unit=units)
def test_jitter_is_within_five_minutes(unit: float) -> None:
    assert abs(due_after(DAY_MS, unit) - 22 * HOUR_MS) <= 5 * MINUTE_MS


@pytest.mark.rule("TOK-10")
def test_jitter_spans_its_whole_range_evenly() -> None:
    offsets = [due_after(DAY_MS, index / 1000) - 22 * HOUR_MS for index in range(1000)]
    assert offsets[0] == -5 * MINUTE_MS and offsets[-1] == 5 * MINUTE_MS - 600
    assert {after - before for before, after in pairwise(offsets)} == {600}


@pytest.mark.rule("TOK-19", "D-49")
@given(life=st.integers(70 * 60, 400 * 86_400), unit=units)
def test_from_seventy_minutes_on_the_formula_is_plain(life: int, unit: float) -> None:
    life *= SECOND_MS
    lead = max(30 * MINUTE_MS, min(2 * HOUR_MS, life // 4))
    assert due_after(life, unit) == life - lead + round(-5 * MINUTE_MS + unit * 10 * MINUTE_MS)


@pytest.mark.rule("TOK-15", "TOK-19")
@given(life=st.integers(1, 70 * MINUTE_MS), unit=units)
def test_no_token_is_born_due_nor_near_expiry(life: int, unit: float) -> None:
    lead, earliest, latest = jitter_range_ms(life, POLICY)
    assert lead == min(lead_ms(life, POLICY), life // 2)
    assert earliest == -min(5 * MINUTE_MS, life // 2 - lead)
    assert latest == min(5 * MINUTE_MS, lead // 2)
    found = TokenTimes(T0 + life, life, lead, T0 + life - lead + round(earliest + unit * (latest - earliest)), True)
    assert not found.is_near_expiry(T0, 0)
    assert T0 + life // 2 <= found.refresh_at_ms <= T0 + life


@pytest.mark.rule("TOK-19")
@pytest.mark.parametrize(("life", "due"), [(40, 20), (30, 15), (10, 5), (120, 90), (360, 270), (1440, 1320)])
def test_the_table_of_due_times(life: int, due: int) -> None:
    lead, earliest, latest = jitter_range_ms(life * MINUTE_MS, POLICY)
    unit = -earliest / (latest - earliest)  # where the jitter is nil
    assert due_after(life * MINUTE_MS, unit) == due * MINUTE_MS
    assert life * MINUTE_MS - lead == due * MINUTE_MS


@pytest.mark.rule("TOK-15")
def test_a_switch_turns_the_clipping_off() -> None:
    unclipped = Policy(clip_short_lives=False)
    found = times(jwt("t", life_ms=10 * MINUTE_MS), policy=unclipped)
    assert found.refresh_at_ms == T0 - 20 * MINUTE_MS
    assert found.is_near_expiry(T0, 0)


@pytest.mark.rule("TOK-2")
@given(exp=st.floats(allow_nan=False) | st.integers(), iat=st.none() | st.floats(allow_nan=False) | st.integers())
def test_absurd_claims_give_finite_times(exp: float, iat: float | None) -> None:
    import base64
    import json

    claims = json.dumps({"exp": exp} if iat is None else {"exp": exp, "iat": iat}).encode()
    found = token_times(Secret(f"h.{base64.urlsafe_b64encode(claims).decode()}.s"), None, 0.3, POLICY)
    if found is not None:
        assert all(abs(value) < 2**63 for value in (found.expires_at_ms, found.life_ms, found.refresh_at_ms))


# --- the server's clock --------------------------------------------------------------------------------------------


@pytest.mark.rule("TOK-20")
@pytest.mark.parametrize(
    ("raw", "applied", "expected"),
    [
        (0, 0, 0),
        (60_000, 0, 0),
        (-60_000, 0, 0),
        (60_001, 0, 60_001),
        (-60_001, 0, -60_001),
        (-DAY_MS, 0, -DAY_MS),
        (DAY_MS + 59_000, DAY_MS, DAY_MS),
        (DAY_MS + 60_000, DAY_MS, DAY_MS),
        (DAY_MS - 60_001, DAY_MS, DAY_MS - 60_001),
        (DAY_MS + 61_000, DAY_MS, DAY_MS + 61_000),
        (10, DAY_MS, 0),
    ],
)
def test_an_offset_counts_above_a_minute_and_does_not_flutter(raw: int, applied: int, expected: int) -> None:
    assert clock_offset(raw, applied, POLICY) == expected


# --- waiting -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("REF-20")
@given(failures=st.integers(1, 10_000), unit=units)
def test_backoff_doubles_from_a_second_to_half_a_minute(failures: int, unit: float) -> None:
    base = min(30_000, 1_000 * 2 ** min(failures - 1, 10))
    wait = refresh_backoff_ms(failures, unit, POLICY)
    assert base * 0.75 - 1 <= wait <= min(30_000, base * 1.25 + 1)


@pytest.mark.rule("REF-20")
def test_backoff_jitter_uses_its_whole_range() -> None:
    assert refresh_backoff_ms(1, 0.0, POLICY) == 750
    assert refresh_backoff_ms(1, 0.5, POLICY) == 1000
    assert refresh_backoff_ms(3, 0.999999, POLICY) == 5000
    assert refresh_backoff_ms(9, 0.999999, POLICY) == 30_000


@pytest.mark.rule("REF-10")
def test_saves_are_repeated_after_a_tenth_of_a_second_doubling_to_five() -> None:
    waits = [save_backoff_ms(failures, POLICY) for failures in range(1, 10)]
    assert waits == [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]
    assert save_backoff_ms(10**6, POLICY) == 5000


@pytest.mark.rule("REF-47")
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, 0),
        ("0", 0),
        ("1", 1_000),
        (" 120 ", 120_000),
        ("3600", HOUR_MS),
        ("3601", HOUR_MS),
        ("9" * 400, HOUR_MS),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("²", 0),
        ("Sat, 31 Dec 2050 23:59:59 GMT", HOUR_MS),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date_up_to_an_hour(header: str | None, wait: int) -> None:
    assert retry_after_ms(header, T0, POLICY) == wait


@pytest.mark.rule("REF-47")
def test_retry_after_as_a_date_counts_from_now() -> None:
    assert retry_after_ms(formatdate((T0 + 90_000) / 1000, usegmt=True), T0, POLICY) == 90_000


@pytest.mark.rule("TOK-20")
@pytest.mark.parametrize("year", [1970, 2000, 2100, 2200, 2201, 2300, 2302, 2400, 9999])
def test_http_dates_around_the_ends_of_centuries(year: int) -> None:
    for month, day in ((1, 1), (2, 28), (3, 1), (12, 31)):
        when = datetime(year, month, day, 23, 59, 58, tzinfo=UTC)
        assert http_date_ms(format_datetime(when, usegmt=True)) == int(when.timestamp()) * 1000


@pytest.mark.rule("CLOSE-2", "CLOSE-3")
def test_sockets_follow_after_half_a_second_doubling_to_half_a_minute_and_jitter_on_top() -> None:
    plain = [reconnect_delay_ms(attempts, 0.0, POLICY) for attempts in range(1, 10)]
    assert plain == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert reconnect_delay_ms(1, 0.5, POLICY) == 575 and reconnect_delay_ms(99, 0.999999, POLICY) == 39_000


@pytest.mark.rule("CLOSE-5", "O-10")
def test_evictions_are_answered_after_five_seconds_doubling_to_a_minute() -> None:
    assert [takeover_floor_ms(count, POLICY) for count in range(1, 7)] == [
        5_000,
        10_000,
        20_000,
        40_000,
        60_000,
        60_000,
    ]


@pytest.mark.rule("TOK-21")
def test_the_first_of_several_instants_counts_and_none_is_never() -> None:
    assert earliest() is None and earliest(None, None) is None
    assert earliest(7) == 7 and earliest(None, 0, 5) == 0 and earliest(5, 3, None, 4) == 3 and earliest(3, 3) == 3


@pytest.mark.rule("TOK-20", "REF-47")
@given(seconds=st.integers(0, 253_402_300_799))
def test_http_dates_agree_with_the_standard_library(seconds: int) -> None:
    assert http_date_ms(formatdate(seconds, usegmt=True)) == seconds * 1000


@pytest.mark.rule("TOK-20")
@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_http_dates_come_in_three_forms(text: str) -> None:
    assert http_date_ms(text) == 784_111_777_000


@pytest.mark.rule("TOK-20")
@given(text=st.text(max_size=60))
def test_anything_else_is_no_date(text: str) -> None:
    assert http_date_ms(text) is None


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov"],
)
def test_impossible_dates_are_none(text: str) -> None:
    assert http_date_ms(text) is None


@pytest.mark.rule("TOK-20")
@pytest.mark.parametrize(("written", "year"), [("00", 2000), ("69", 2069), ("70", 1970), ("71", 1971), ("99", 1999)])
def test_years_of_two_digits_belong_to_the_hundred_from_1970(written: str, year: int) -> None:
    expected = datetime(year, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert http_date_ms(f"Sunday, 06-Nov-{written} 08:49:37 GMT") == int(expected.timestamp()) * 1000


@pytest.mark.rule("TOK-20")
def test_a_leap_second_is_one_and_a_sixtieth_minute_is_none() -> None:
    assert http_date_ms("Sat, 31 Dec 2016 23:59:60 GMT") == http_date_ms("Sun, 01 Jan 2017 00:00:00 GMT")
    assert http_date_ms("Sat, 31 Dec 2016 23:59:61 GMT") is None
    assert http_date_ms("Sat, 31 Dec 2016 23:60:00 GMT") is None


@pytest.mark.rule("CLOSE-2")
def test_without_a_floor_nothing_is_added() -> None:
    assert reconnect_delay_ms(1, 0.0, Policy(reconnect_first_ms=0, reconnect_jitter=0.0)) == 0
