"""Who exists: users, agents, conversations and pairing codes."""

from typing import Literal

from attrs import define, field

from clawproto.hub.frames import JsonObject

ChatType = Literal["direct", "group"]


@define
class User:
    """A person or an agent; ``user_id`` is what ``sender.id`` shows (ROUTE-10)."""

    user_id: str
    nick_name: str
    avatar_url: str = ""
    bio: str = ""


@define
class Agent:
    """The agent behind a user id.

    Attributes:
        conversation_id: its direct conversation with its owner.
    """

    agent_id: str
    user_id: str
    owner_id: str
    conversation_id: str
    behavior: str = ""
    settings: list[JsonObject] = field(factory=list[JsonObject])  # REST-9
    permissions: JsonObject = field(factory=JsonObject)


@define
class Conversation:
    """Members in order of joining.

    Attributes:
        stored_type: an alias kept by older records; only ``chat_type`` reaches the wire (ROUTE-3).
    """

    conversation_id: str
    members: list[str]
    created_ms: int
    title: str = ""
    description: str = ""
    stored_type: str | None = None

    @property
    def chat_type(self) -> ChatType:
        if self.stored_type in ("chat", "direct"):
            return "direct"
        if self.stored_type == "group":
            return "group"
        return "direct" if len(self.members) <= 2 else "group"


@define
class PairingCode:
    """A connect code (PAIR-5).

    Attributes:
        user_id: the agent it pairs; None until a fresh pairing has made one.
        spent: a pairing succeeded with it.
    """

    code: str = field(repr=False)
    owner_id: str
    expires_ms: int
    user_id: str | None = None
    spent: bool = False


class Directory:
    """Everything that exists, by id."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.agents: dict[str, Agent] = {}  # by user id
        self.conversations: dict[str, Conversation] = {}
        self.codes: dict[str, PairingCode] = {}
        self._by_agent_id: dict[str, Agent] = {}
        self._memberships: dict[str, list[Conversation]] = {}

    def add_conversation(self, conversation: Conversation) -> None:
        self.conversations[conversation.conversation_id] = conversation
        for member in conversation.members:
            self._memberships.setdefault(member, []).append(conversation)

    def add_member(self, conversation: Conversation, user_id: str) -> None:
        if user_id not in conversation.members:
            conversation.members.append(user_id)
            self._memberships.setdefault(user_id, []).append(conversation)

    def remove_member(self, conversation: Conversation, user_id: str) -> None:
        if user_id in conversation.members:
            conversation.members.remove(user_id)
            self._memberships[user_id].remove(conversation)

    def remove_conversation(self, conversation_id: str) -> None:
        """Forget a conversation (dissolved): its id is well-formed but unknown from now on."""
        conversation = self.conversations.pop(conversation_id)
        for member in conversation.members:
            self._memberships[member].remove(conversation)

    def conversations_of(self, user_id: str) -> list[Conversation]:
        return self._memberships.get(user_id, [])

    def agent_by_id(self, agent_id: str) -> Agent | None:
        return self._by_agent_id.get(agent_id)

    def add_agent(self, agent: Agent) -> None:
        self.agents[agent.user_id] = self._by_agent_id[agent.agent_id] = agent
