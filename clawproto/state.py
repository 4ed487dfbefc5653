"""The whole state of a session: one frozen tree, a branch per machine."""

from clawproto.config import Config
from clawproto.deferred import frozen
from clawproto.drafts import Drafts
from clawproto.history import Reset
from clawproto.inbox_state import InboxState
from clawproto.indicator import IndicatorState
from clawproto.link_state import LinkState
from clawproto.outbox_state import OutboxState
from clawproto.pairing import PairingState
from clawproto.persistent import StrMap
from clawproto.rest import RestState
from clawproto.signals import SignalState
from clawproto.streams import StreamState
from clawproto.tokens_state import TokenState
from clawproto.turn import Counters


@frozen
class State:
    """A value: equal states behave alike, and an old one can be stepped again.

    Attributes:
        started: `clawproto.events.Start` has come.
        connected: inbox and outbox have been told of the socket that is online now.
        deadline: monotonic ms of the next thing to do, None for never.
        calm_until: the same of all machines but link, inbox and outbox, when they were last asked.
    """

    config: Config
    started: bool = False
    connected: bool = False
    deadline: int | None = None
    calm_until: int | None = None
    counters: Counters = Counters()
    tokens: TokenState = TokenState()
    link: LinkState = LinkState()
    inbox: InboxState = InboxState()
    outbox: OutboxState = OutboxState()
    rest: RestState = RestState()
    pairing: PairingState = None
    typing: IndicatorState = ()
    signals: SignalState = SignalState()
    streams: StreamState = StreamState()
    drafts: Drafts = StrMap()
    reset: Reset | None = None
