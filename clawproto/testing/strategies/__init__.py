"""Hypothesis strategies for everything that a session is told and does. Needs ``clawproto[testing]``.

    from hypothesis import given
    from clawproto.testing import strategies as claw

    @given(claw.frames())
    def test_my_parser_survives(text: str) -> None: ...

Frames and answers come valid, damaged and hostile; every strategy says which. What is drawn is plain data.
"""

from clawproto.testing.strategies.http import (
    http_answers as http_answers,
    pairing_answers as pairing_answers,
    refresh_answers as refresh_answers,
)
from clawproto.testing.strategies.tokens import (
    access_tokens as access_tokens,
    credentials as credentials,
    guards as guards,
    identities as identities,
    intents as intents,
    jwt as jwt,
    refresh_tokens as refresh_tokens,
    token_pairs as token_pairs,
)
from clawproto.testing.strategies.values import (
    app_events as app_events,
    clocks as clocks,
    commands as commands,
    configs as configs,
    effects as effects,
    events as events,
    instants as instants,
    json_objects as json_objects,
    json_values as json_values,
    reports as reports,
    results as results,
    values_of as values_of,
)
from clawproto.testing.strategies.wire import (
    DOWNLINKS as DOWNLINKS,
    UPLINKS as UPLINKS,
    bad_frames as bad_frames,
    damaged_frames as damaged_frames,
    downlinks as downlinks,
    fragments as fragments,
    frames as frames,
    hostile_frames as hostile_frames,
    payloads as payloads,
    uplinks as uplinks,
)
