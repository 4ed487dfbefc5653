"""Who there is to act as: users, agents, conversations, connect codes and tokens (HUB-2)."""

from attrs import asdict, field

from clawproto.deferred import frozen
from clawproto.hub import people
from clawproto.hub.context import Context
from clawproto.hub.directory import Conversation


@frozen
class HubAgent:
    """A provisioned agent with everything a client needs to act as it.

    Attributes:
        pairing_code: unspent; pairs this same agent once.
    """

    user_id: str
    owner_id: str
    agent_id: str
    device_id: str
    conversation_id: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    pairing_code: str = field(repr=False)

    def as_dict(self) -> dict[str, str]:
        """Plain strings, tokens included."""
        return dict(asdict(self))


class Provisioning:
    """The part of the hub that makes and changes what exists."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create_user(self, nick_name: str) -> str:
        """A person; returns the ``usr_…`` id."""
        return people.add_user(self._context, nick_name).user_id

    def create_agent(self, owner_id: str, nick_name: str = "agent", device_id: str | None = None) -> HubAgent:
        """An agent with its direct conversation, a pair of tokens bound to ``device_id`` and an unspent connect code.

        Raises:
            KeyError: the owner is unknown.
        """
        context = self._context
        agent = people.add_agent(context, owner_id, nick_name)
        device_id = device_id or f"dev-{context.entropy.hex(12)}"
        tokens = context.tokens.mint(agent.user_id, device_id, context.settings, context.now.wall_ms)
        return HubAgent(
            user_id=agent.user_id,
            owner_id=owner_id,
            agent_id=agent.agent_id,
            device_id=device_id,
            conversation_id=agent.conversation_id,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            pairing_code=people.add_code(context, owner_id, agent.user_id).code,
        )

    def create_conversation(self, members: list[str], title: str = "") -> str:
        """A conversation between users; returns the ``cnv_…`` id.

        Raises:
            KeyError: a member is unknown.
        """
        return people.add_conversation(self._context, members, title).conversation_id

    def create_pairing_code(self, owner_id: str, user_id: str | None = None) -> str:
        """An unspent connect code, for the agent ``user_id`` or for a new one.

        Raises:
            KeyError: the owner is unknown.
        """
        return people.add_code(self._context, owner_id, user_id).code

    def issue_tokens(self, user_id: str, device_id: str) -> dict[str, str]:
        """A further pair of tokens, e.g. for a person's device; older ones stay as they are.

        Raises:
            KeyError: the user is unknown.
        """
        context = self._context
        known = context.directory.users[user_id].user_id
        pair = context.tokens.mint(known, device_id, context.settings, context.now.wall_ms)
        return {"access_token": pair.access_token, "refresh_token": pair.refresh_token}

    def add_member(self, chat_id: str, user_id: str) -> None:
        """Raises: KeyError: conversation or user unknown."""
        user = self._context.directory.users[user_id]
        self._context.directory.add_member(self._chat(chat_id), user.user_id)

    def remove_member(self, chat_id: str, user_id: str) -> None:
        """Raises: KeyError: the conversation is unknown."""
        self._context.directory.remove_member(self._chat(chat_id), user_id)

    def set_stored_chat_type(self, chat_id: str, stored_type: str | None) -> None:
        """The type as an older record keeps it, e.g. ``chat`` (ROUTE-3). Raises: KeyError: unknown conversation."""
        self._chat(chat_id).stored_type = stored_type

    def dissolve(self, chat_id: str) -> None:
        """Delete a conversation; its id is unknown from now on. Raises: KeyError: it was unknown before."""
        self._context.directory.remove_conversation(chat_id)

    def _chat(self, chat_id: str) -> Conversation:
        return self._context.directory.conversations[chat_id]
