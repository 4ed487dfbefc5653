"""An agent on trio that reads, reacts, and answers word by word: stream_trio.py STORE [PAIRING_CODE BASE_URL]"""

import sys
from contextlib import suppress

import trio

from clawproto.app_events import MessageReceived
from clawproto.errors import SendError
from clawproto_trio import Client, connect, pair


async def answer(client: Client, question: MessageReceived) -> None:
    client.mark_read(question.chat_id, question.emitted_at_ms or 0)
    await client.react(question.chat_id, question.message_id, "👀")
    with client.typing(question.chat_id):
        async with client.stream(question.chat_id, reply_to=question) as stream:
            for word in f"You said: {question.text}".split():
                await stream.append(f"{word} ")
                await trio.sleep(0.2)


async def main(store: str, *pairing: str) -> None:
    if pairing:
        await pair(store, pairing[0], base_url=pairing[1])
    async with connect(store) as client:
        async for event in client:
            if isinstance(event, MessageReceived) and event.conversational:
                with suppress(SendError):
                    await answer(client, event)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main, *sys.argv[1:])
