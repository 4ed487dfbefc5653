"""Making users, agents, conversations and connect codes."""

from clawproto.hub.context import Context
from clawproto.hub.directory import Agent, Conversation, PairingCode, User

_CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def add_user(context: Context, nick_name: str) -> User:
    """A person, or the user behind an agent."""
    user = User(f"usr_{context.entropy.ulid(context.now.wall_ms)}", nick_name)
    context.directory.users[user.user_id] = user
    return user


def add_conversation(context: Context, members: list[str], title: str = "") -> Conversation:
    """A conversation between known users.

    Raises:
        KeyError: a member is unknown; nothing was made.
    """
    for member in members:
        if member not in context.directory.users:
            raise KeyError(member)
    conversation_id = f"cnv_{context.entropy.ulid(context.now.wall_ms)}"
    conversation = Conversation(conversation_id, list(dict.fromkeys(members)), context.now.wall_ms, title)
    context.directory.add_conversation(conversation)
    return conversation


def add_agent(context: Context, owner_id: str, nick_name: str) -> Agent:
    """An agent with its direct conversation with its owner.

    Raises:
        KeyError: the owner is unknown; nothing was made.
    """
    if owner_id not in context.directory.users:
        raise KeyError(owner_id)
    user = add_user(context, nick_name)
    conversation = add_conversation(context, [owner_id, user.user_id])
    agent_id = f"agt_{context.entropy.ulid(context.now.wall_ms)}"
    agent = Agent(agent_id, user.user_id, owner_id, conversation.conversation_id)
    context.directory.add_agent(agent)
    return agent


def add_code(context: Context, owner_id: str, user_id: str | None = None) -> PairingCode:
    """An unspent connect code of eight characters, for a given agent or for a new one.

    Raises:
        KeyError: the owner is unknown.
    """
    if owner_id not in context.directory.users:
        raise KeyError(owner_id)
    text = "".join(_CODE_ALPHABET[byte & 31] for byte in context.entropy.take(8))
    code = PairingCode(text, owner_id, context.now.wall_ms + context.settings.pairing_code_life_ms, user_id)
    context.directory.codes[text] = code
    return code
