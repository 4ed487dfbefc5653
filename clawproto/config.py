"""What a session is built with and never changes."""

from typing import Literal, TypeAlias

from attrs import field, fields

from clawproto.deferred import frozen
from clawproto.policy import Policy

Delivery: TypeAlias = Literal["legacy", "v1", "v2"]


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


@frozen(kw_only=True)
class Features:
    """What an application turns on; the capabilities follow from it, none without its duty (CAP-1, CAP-7).

    Attributes:
        delivery: the generation of reliable delivery to ask for; the library does all of its duties.
        receipts: tell senders that their messages have arrived, and be told likewise (DEL).
        own_devices: this user has other devices: see their messages and read marks (READ, ROUTE-6).
        metadata: the application fetches again what `clawproto.app_events.MetadataInvalidated` names (META).
        signals: the application fetches again what `clawproto.app_events.SignalReceived` names (NOTIFY).
        permissions: the user owns agents, and the application shows cards for their requests (PERM).
        history: pass history between the user's devices (HIST).
    """

    delivery: Delivery = "v2"
    receipts: bool = False
    own_devices: bool = False
    metadata: bool = False
    signals: bool = False
    permissions: bool = False
    history: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """The flags of ``connect``."""
        return Capabilities(
            multi_device=self.own_devices,
            chat_meta_events=self.metadata,
            delivery_receipt=self.receipts,
            notify_signals=self.signals,
            permission_events=self.permissions,
            history_sync=self.history,
            reliable_delivery=self.delivery != "legacy",
            reliable_delivery_v2=self.delivery == "v2",
        )


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
        keep_sends: the host has a message store: nothing is transmitted before a `clawproto.effects.Keep` has been
            answered, so that a restart can transmit it again.

    Raises:
        ValueError: a seed that is not 16 bytes long.
    """

    seed: bytes = field(validator=_check_seed, repr=False)
    policy: Policy = Policy()
    capabilities: Capabilities = Capabilities()
    client_version: str = ""
    socket_device_id: str | None = None
    volatile_device_id: bool = False
    keep_sends: bool = False
