"""The defects: each a small change that somebody might make, and the rule that it breaks."""

from typing import Final

from attrs import frozen


@frozen
class Defect:
    """One deliberate mistake.

    Attributes:
        name: what is wrong with the core then.
        rule: that it breaks.
        path: of the file below ``clawproto``.
        old: occurs in it exactly once.
        new: replaces it.
        tests: files below ``tests/core``, one of which is enough.
        explored: the machine is one that the explorer walks.
    """

    name: str
    rule: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    explored: bool = True


_FLIGHT: Final = ("test_tokens_flight.py",)
_LATE: Final = ("test_tokens_late.py",)
_OUTSIDE: Final = ("test_tokens_outside.py",)
_SAVING: Final = ("test_tokens_saving.py",)

TOKENS: Final = (
    Defect(
        "a pair is swapped before it is saved",
        "REF-9",
        "tokens_answers.py",
        "return persist(tokens, Saving(phase.flight, held, replaces, operation=None), turn)",
        "return swap(tokens, Saving(phase.flight, held, replaces, operation=None), held, turn)",
        _FLIGHT,
    ),
    Defect(
        "an answer to another request counts",
        "REF-48",
        "tokens_answers.py",
        "if not isinstance(phase, Requesting) or phase.request != event.request:",
        "if not isinstance(phase, Requesting):",
        _LATE,
    ),
    Defect(
        "a report on another store operation counts",
        "REF-49",
        "tokens_answers.py",
        "if isinstance(phase, Idle | Requesting) or phase.operation != event.operation:",
        "if isinstance(phase, Idle | Requesting):",
        _LATE,
    ),
    Defect(
        "the latch is skipped",
        "REF-14",
        "tokens_outcome.py",
        "return _forget(evolve(tokens, latch=refused, armed=False), logging_out, turn)",
        "return _forget(evolve(tokens, armed=False), logging_out, turn)",
        ("test_tokens_logout.py",),
    ),
    Defect(
        "a refusal logs out without reading the store",
        "REF-30",
        "tokens_answers.py",
        "    operation = turn.next_operation()\n    turn.do(Reload(operation))\n"
        "    return evolve(tokens, phase=Rereading(flight, operation, verdict.code, verdict.text))",
        "    return log_out(tokens, Rereading(flight, 0, verdict.code, verdict.text), flight.generation, turn)",
        ("test_tokens_logout.py",),
    ),
    Defect(
        "a sibling's pair does not prevent the logout",
        "REF-45",
        "tokens_answers.py",
        "if stored is not None and stored.tokens is not None and not is_pair_of(phase.flight, stored):\n"
        "        return adopt(tokens, phase.flight, stored, turn)  # REF-45",
        "if False:\n        return adopt(tokens, phase.flight, stored, turn)",
        _OUTSIDE,
    ),
    Defect(
        "an unreadable store counts as one without news",
        "REF-45",
        "tokens_answers.py",
        "if isinstance(event, StoreFailed):  # it cannot be told who is right",
        "if False:  # it cannot be told who is right",
        _OUTSIDE,
    ),
    Defect(
        "there is no floor",
        "REF-16",
        "tokens_state.py",
        "return tokens.last_attempt.mono_ms + policy.refresh_floor_ms",
        "return 0",
        _FLIGHT,
    ),
    Defect(
        "a new pair resets the floor",
        "REF-17",
        "tokens_outcome.py",
        "failures=0, backoff_until=0, not_before=0, hold_until=0)",
        "failures=0, backoff_until=0, not_before=0, hold_until=0, last_attempt=None)",
        (*_FLIGHT, *_OUTSIDE),
    ),
    Defect(
        "a stale record with a spent token is taken up",
        "OUT-8",
        "tokens_answers.py",
        "tokens = remember_spent(tokens, phase.flight)",
        "tokens = evolve(tokens, spent=remember_spent(tokens, phase.flight).spent[:0])",
        _OUTSIDE,
    ),
    Defect(
        "a pair that could not be saved is given up",
        "REF-10",
        "tokens_answers.py",
        "return evolve(tokens, phase=waiting, last_error=detail)",
        "return evolve(tokens, phase=Idle(), last_error=waiting and detail)",
        _SAVING,
    ),
    Defect(
        "a refresh is begun while a pair is unsaved",
        "REF-10",
        "tokens.py",
        'if not isinstance(tokens.phase, Idle):\n        return "in-flight"',
        'if not isinstance(tokens.phase, Idle | Saving):\n        return "in-flight"',
        _SAVING,
    ),
    Defect(
        "a refresh is begun after the stop",
        "REF-32",
        "tokens.py",
        'if tokens.stopped:\n        return "stopped"',
        'if False:\n        return "stopped"',
        ("test_tokens_stop.py",),
    ),
    Defect(
        "a request goes out although the intent met another pair",
        "REF-49",
        "tokens_answers.py",
        "if not is_pair_of(phase.flight, stored):  # another process was faster",
        "if False:  # another process was faster",
        _OUTSIDE,
    ),
    Defect(
        "an unknown answer is followed at once",
        "REF-44",
        "tokens_answers.py",
        "not_before=max(tokens.not_before, turn.mono + turn.policy.unknown_answer_wait_ms)",
        "not_before=tokens.not_before",
        ("test_tokens_recovery.py",),
    ),
    Defect(
        "the callers are not told",
        "REF-12",
        "tokens_outcome.py",
        "    for command in flight.callers:\n        turn.resolve(command, outcome)\n    turn.signal(",
        "    turn.signal(",
        _FLIGHT,
    ),
    Defect(
        "the callers of a failed save are told twice",
        "REF-10",
        "tokens_answers.py",
        "flight = evolve(flight, callers=())",
        "flight = evolve(flight)",
        _SAVING,
    ),
    Defect(
        "the latch outlives a new pairing",
        "OUT-9",
        "tokens_outcome.py",
        'status="usable",\n        latch=None,\n        starting=not tokens.stopped,',
        'status="usable",\n        starting=not tokens.stopped,',
        _OUTSIDE,
    ),
    Defect(
        "a pair that the grace has killed wins over the newest one",
        "REF-49",
        "tokens_answers.py",
        "return ours is not None and theirs is not None and ours > theirs",
        "return False",
        _OUTSIDE,
    ),
    Defect(
        "a store that could not forget is not asked again",
        "OUT-6",
        "tokens_outcome.py",
        "    if still_there:\n        retry_at",
        "    if False:\n        retry_at",
        ("test_tokens_logout.py",),
    ),
    Defect(
        "a token near its end is not refreshed before the first connect",
        "TOK-14",
        "tokens.py",
        'if is_near_expiry(tokens, turn.now):\n            return request(tokens, "startup", None, turn)',
        'if False:\n            return request(tokens, "startup", None, turn)',
        ("test_tokens_startup.py",),
    ),
    Defect(
        "nobody wakes up for the save that is to be repeated",
        "REF-10",
        "tokens_state.py",
        "phase.retry_at if isinstance(phase, Saving) else None,",
        "None,",
        _SAVING,
    ),
    Defect(
        "the rejected token is forgotten",
        "REF-23",
        "tokens.py",
        "tokens = evolve(tokens, rejected=digest)",
        "tokens = evolve(tokens)",
        ("test_hello_fail.py",),
    ),
    Defect(
        "a socket is opened while a refresh is in flight",
        "REF-29",
        "tokens_state.py",
        "        and not is_in_flight(tokens)\n",
        "",
        _FLIGHT,
    ),
    Defect(
        "a socket is opened with a rejected token",
        "REF-23",
        "tokens_state.py",
        "        and not is_rejected(tokens)\n    )",
        "    )",
        ("test_hello_fail.py",),
    ),
)

LINK: Final = (
    Defect(
        "the opening of another socket counts",
        "HS-1",
        "link.py",
        "    if not isinstance(phase, Opening) or phase.generation != event.generation:\n        return link\n"
        "    return evolve(link, phase=Waiting",
        "    if not isinstance(phase, Opening):\n        return link\n    return evolve(link, phase=Waiting",
        ("test_handshake.py", "test_link_random.py"),
    ),
    Defect(
        "frames of an earlier socket count",
        "EVT-4",
        "downlink.py",
        "    if event.generation != generation(state.link):\n        return state\n",
        "",
        ("test_handshake.py", "test_link_random.py"),
    ),
    Defect(
        "a handshake may take for ever",
        "HS-4",
        "link.py",
        'turn.do(Abort(phase.generation))\n                return _retry(link, None, "no answer in time", turn)',
        "return link",
        ("test_handshake.py",),
    ),
    Defect(
        "sockets follow each other without a pause",
        "CLOSE-3",
        "link.py",
        'delay = reconnect_delay_ms(attempts, turn.draw("reconnect"), turn.policy, floor_ms)',
        "delay = floor_ms",
        ("test_close.py",),
    ),
    Defect(
        "an eviction is answered like any other close",
        "CLOSE-5",
        "link.py",
        "floor = max(takeover_floor_ms(count, policy), _named_delay(event.reason, policy.retry_after_max_ms))",
        "floor = 0",
        ("test_close.py",),
    ),
    Defect(
        "silence is never a reason to close",
        "HB-6",
        "link.py",
        "if phase.pinged_at is None or turn.mono < phase.pinged_at + policy.pong_timeout_ms:",
        "if True:",
        ("test_heartbeat.py",),
    ),
    Defect(
        "a close that the hub does not answer never ends",
        "CLOSE-12",
        "link.py",
        "        case Closing():\n            if turn.mono >= phase.deadline:",
        "        case Closing():\n            if False:",
        ("test_closing.py",),
    ),
    Defect(
        "a session that was stopped never ends",
        "REF-32",
        "session.py",
        "if state.tokens.stopped and isinstance(state.link.phase, Down):",
        "if False:",
        ("test_closing.py", "test_tokens_stop.py"),
    ),
    Defect(
        "a rotation leaves the old socket where it is",
        "REF-26",
        "session.py",
        'return connection.renew(state, turn) if trigger not in (None, "caller") else state',
        "return state",
        ("test_tokens_proactive.py",),
    ),
)

MESSAGES: Final = (
    Defect(
        "what is acknowledged is what arrived",
        "R2-9",
        "inbox.py",
        "dseq=stream.mark, epoch=epoch)",
        "dseq=stream.last, epoch=epoch)",
        ("test_inbox_acks.py",),
        explored=False,
    ),
    Defect(
        "the mark jumps over what is not settled",
        "R2-9",
        "inbox.py",
        "    if number != stream.mark + 1:\n",
        "    if False:\n",
        ("test_inbox_acks.py",),
        explored=False,
    ),
    Defect(
        "a gap in the count is accepted",
        "R2-7",
        "inbox.py",
        "return frame.dseq_malformed or (frame.dseq is not None and frame.dseq != stream.last + 1)",
        "return frame.dseq_malformed",
        ("test_inbox.py", "test_inbox_acks.py"),
        explored=False,
    ),
    Defect(
        "what comes again is handed over again",
        "SEND-19",
        "inbox.py",
        "same = known is not None and known.fingerprint == said and known.final == final",
        "same = False",
        ("test_inbox_repeats.py",),
        explored=False,
    ),
    Defect(
        "the acks that are owed are not sent before closing",
        "R2-16",
        "connection.py",
        "return evolve(state, inbox=inbox.flush(state.inbox, turn), typing=hidden)",
        "return evolve(state, typing=hidden)",
        ("test_inbox_acks.py",),
        explored=False,
    ),
    Defect(
        "gates stop nothing",
        "ERR-9",
        "gates.py",
        "if gate is not None and (gate.until is None or turn.mono < gate.until):",
        "if False:",
        ("test_errors_and_gates.py",),
        explored=False,
    ),
    Defect(
        "a token shows itself",
        "AUTH-9",
        "secret.py",
        '    def __repr__(self) -> str:\n        return "Secret(…)"',
        "    def __repr__(self) -> str:\n        return self._value",
        ("test_tokens_flight.py",),
        explored=False,
    ),
    Defect(
        "jitter is left out",
        "TOK-10",
        "timing.py",
        "jitter = round(earliest + unit * (latest - earliest))",
        "jitter = 0",
        ("test_timing.py",),
        explored=False,
    ),
)

DEFECTS: Final = TOKENS + LINK + MESSAGES
