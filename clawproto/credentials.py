"""What a store keeps for one agent: who it is, its pair of tokens, and what was refused."""

from clawproto.deferred import frozen
from clawproto.evolving import evolve
from clawproto.secret import Secret


@frozen
class Identity:
    """Who the agent is. Survives a logout, so that pairing again finds the same agent (OUT-3).

    Attributes:
        user_id: the own user id, learned at pairing (AUTH-3).
        device_id: the session device id, sent verbatim as ``X-Device-Id`` (DEV-4).
        base_url: origin of the REST surface, without a trailing slash.
        ws_url: address of the WebSocket surface (AUTH-7).
        owner_id: user id of the owner, if known.
        agent_id: the agent's own id, if the server gave one.
        conversation_id: the direct conversation with the owner, if known.
        socket_device_id: the device id that the hub resolved in ``hello-ok``, where it differs (HS-23).
    """

    user_id: str
    device_id: str
    base_url: str
    ws_url: str
    owner_id: str | None = None
    agent_id: str | None = None
    conversation_id: str | None = None
    socket_device_id: str | None = None


@frozen
class TokenPair:
    """An access token and the single-use refresh token that replaces it.

    Attributes:
        access: bearer credential for WebSocket, REST and media.
        refresh: single-use credential for rotation; None where pairing gave none (PAIR-11).
        obtained_at_ms: wall clock at pairing or at the end of the refresh that brought it (TOK-5); None if unknown.
    """

    access: Secret
    refresh: Secret | None
    obtained_at_ms: int | None = None


@frozen
class Intent:
    """Written to the store before a refresh request leaves (REF-46).

    Found again at start it says: a rotation was in flight and its answer was lost.

    Attributes:
        refresh_digest: digest of the refresh token that was about to be spent.
        generation: generation of the stored pair that the rotation would replace.
        wall_ms: when, on the wall clock.
    """

    refresh_digest: str
    generation: int
    wall_ms: int


@frozen
class Credentials:
    """One record of a credential store.

    Attributes:
        identity: see `Identity`.
        tokens: the pair, or None after a logout.
        generation: grows by one with every change of the pair; a save names the generation it replaces (REF-49).
        intent: an unanswered rotation, if one was recorded (REF-46).
        refused: digest of the access token whose refresh was refused for good (REF-14), kept across restarts.
    """

    identity: Identity
    tokens: TokenPair | None
    generation: int = 0
    intent: Intent | None = None
    refused: str | None = None

    def with_tokens(self, tokens: TokenPair, generation: int) -> "Credentials":
        """The same identity under another pair; intent and refusal are gone with the old one."""
        return evolve(self, tokens=tokens, generation=generation, intent=None, refused=None)


@frozen
class Guard:
    """The part of the token machine that must outlive a rebuild of it (REF-33).

    Attributes:
        refused: digest of the access token for which refresh failed permanently (the latch, REF-14).
        rejected: digest of the access token that a hub answered with ``authentication failed`` (REF-23).
        last_attempt_wall_ms: wall clock at the begin of the last refresh attempt; None means never (REF-18).
    """

    refused: str | None = None
    rejected: str | None = None
    last_attempt_wall_ms: int | None = None
