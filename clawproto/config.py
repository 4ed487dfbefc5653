"""What a session is built with and never changes."""

from attrs import field, fields, frozen

from clawproto.policy import Policy


@frozen(kw_only=True)
class Capabilities:
    """The flags of ``connect`` (CAP). Each obliges; set none whose duty the application does not fulfil (CAP-1).

    Raises:
        ValueError: ``reliable_delivery_v2`` without ``reliable_delivery`` (CAP-2).
    """

    multi_device: bool = False
    device_replay: bool = True
    chat_meta_events: bool = False
    delivery_receipt: bool = False
    notify_signals: bool = False
    permission_events: bool = False
    history_sync: bool = False
    reliable_delivery: bool = True
    reliable_delivery_v2: bool = True

    def __attrs_post_init__(self) -> None:
        if self.reliable_delivery_v2 and not self.reliable_delivery:
            raise ValueError("reliable_delivery_v2 needs reliable_delivery as well (CAP-2)")

    @property
    def flags(self) -> dict[str, bool]:
        """The flags that are on, as they go into ``connect``; a missing one means false (CAP)."""
        return {item.name: True for item in fields(Capabilities) if getattr(self, item.name)}


def _check_seed(_instance: object, _attribute: object, value: bytes) -> None:
    if len(value) != 16:
        raise ValueError(f"seed must be 16 bytes, not {len(value)}")


@frozen(kw_only=True)
class Config:
    """Settings of one session.

    Attributes:
        seed: 16 bytes; all jitter and all ids derive from it. Same seed and same events: same effects. Never use one
            seed for two sessions that talk to the same hub: their message ids would collide.
        policy: every number.
        capabilities: what to ask of the hub.
        client_version: log material for the hub (HS-6).
        socket_device_id: for a parallel instance of the same agent: its own socket device id (CLOSE-11, DEV-8). None
            uses the session device id (DEV-2).
        volatile_device_id: the host derived the device id from something that may change; warn at start (DEV-6).

    Raises:
        ValueError: a seed that is not 16 bytes long.
    """

    seed: bytes = field(validator=_check_seed, repr=False)
    policy: Policy = Policy()
    capabilities: Capabilities = Capabilities()
    client_version: str = ""
    socket_device_id: str | None = None
    volatile_device_id: bool = False
