"""An agent on trio that answers every message with its own text: echo_trio.py STORE [PAIRING_CODE BASE_URL]"""

import sys
from contextlib import suppress

import trio

from clawproto.app_events import CredentialsNeeded, LoggedOut, MessageReceived
from clawproto.errors import SendError
from clawproto_trio import connect, pair


async def main(store: str, *pairing: str) -> None:
    if pairing:
        await pair(store, pairing[0], base_url=pairing[1])
    async with connect(store) as client:
        async for event in client:
            if isinstance(event, MessageReceived) and event.conversational:
                try:
                    await client.send(event.chat_id, f"echo: {event.text}", reply_to=event)
                except SendError as error:
                    print(f"not sent: {error}")
            elif isinstance(event, LoggedOut | CredentialsNeeded):
                print(f"pair me: {event.text}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main, *sys.argv[1:])
