"""A ready-made population: one owner per agent, a direct conversation each, one conversation for all."""

from clawproto.hub.controls import Controls
from clawproto.json_types import Json


def provision(hub: Controls, agents: int = 1) -> dict[str, Json]:
    """Create ``agents`` agents and describe them, tokens included.

    Returns:
        ``agents``: the fields of `HubAgent`, one object each; ``shared_conversation_id``: a group of all of them and
        the first one's owner.

    Raises:
        ValueError: fewer than one agent.
    """
    if agents < 1:
        raise ValueError("at least one agent is needed")
    made = [
        hub.create_agent(hub.create_user(f"Owner {number}"), f"Agent {number}", f"agent-{number}")
        for number in range(1, agents + 1)
    ]
    shared = hub.create_conversation([made[0].owner_id, *(agent.user_id for agent in made)], "Everyone")
    described: list[Json] = [{**agent.as_dict()} for agent in made]
    return {"agents": described, "shared_conversation_id": shared}
