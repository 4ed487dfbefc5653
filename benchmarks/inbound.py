"""A frame comes in: to a typed event with all bookkeeping against ``json.loads``, and typed decode alone."""

from collections.abc import Callable, Iterator, Sequence

from benchmarks import frames
from benchmarks.harness import Row, Work, compare
from benchmarks.pure import COUNT, acknowledged, decoding, delivered, indicated, loading, messages, reader
from benchmarks.sessions import seasoned
from clawproto.config import Capabilities, Config

READERS = [("msgspec", "fast", 1.0), ("stdlib", "attrs + cattrs alone", 2.5)]
LOADS = "json.loads, same bytes"
OWN_STRUCTS = "msgspec into its own structs, same bytes"
DECODE_LIMIT = 3.0
CHINESE = "message.send, 700 bytes, Chinese"  # a detail: not one of the frames that the targets name

SAMPLES: list[tuple[str, Callable[[int], str]]] = [
    ("message.send, 700 bytes", lambda number: frames.message(number, 700)),
    ("message.send, 8 kB", lambda number: frames.message(number, 8_000)),
    ("message.send, 30 fragments", lambda number: frames.fragmented_message(number, 30)),
]


def _works() -> Iterator[tuple[str, Work, Sequence[str]]]:
    """Each frame on its way through a session whose memory of messages is full, and the texts that it is given."""
    state, generation, first = seasoned()
    for name, make in SAMPLES:
        texts = messages(make, first)
        yield name, delivered(state, generation, texts, first), texts
    receipts = Config(seed=bytes(16), capabilities=Capabilities(delivery_receipt=True))
    state, generation, first = seasoned(config=receipts)
    texts = messages(SAMPLES[0][1], first)
    yield "message.send, 700 bytes, receipt sent", delivered(state, generation, texts, first), texts
    state, generation, first = seasoned()
    texts = messages(lambda number: frames.foreign_message(number, 700), first)
    yield CHINESE, delivered(state, generation, texts, first), texts
    yield "message.ack, 200 bytes", *acknowledged()
    yield "typing.update", *indicated()


def inbound(rounds: int) -> Iterator[Row]:
    """Bytes to typed event with all bookkeeping; then the decoding alone, against ``json.loads``."""
    works = list(_works())
    for name, label, limit in READERS:
        with reader(name) as present:
            for what, work, texts in works if present else ():
                row = compare(
                    "inbound", f"{what}, {label}", work, LOADS, loading(texts), operations=COUNT, rounds=rounds
                )
                yield row if what == CHINESE else row.held_to("inbound", limit)


def decode(rounds: int) -> Iterator[Row]:
    """Typed decode alone: with msgspec against msgspec, without it against ``json.loads``, on which it is built."""
    _, acks = acknowledged()
    _, typings = indicated()
    texts = [*((name, messages(make, 4_501)) for name, make in SAMPLES)]
    texts += [("message.ack, 200 bytes", acks), ("typing.update", typings)]
    with reader("msgspec") as present:
        for name, same in texts if present else ():
            work, structs = decoding(same), _structured(same)
            row = compare("decode", name, work, OWN_STRUCTS, structs, operations=COUNT, rounds=rounds)
            yield row.held_to("decode", DECODE_LIMIT)
    for reading, label, _ in READERS:
        with reader(reading) as present:
            for name, same in texts if present else ():
                group, work = f"decode, {label}", decoding(same)
                yield compare(group, name, work, LOADS, loading(same), operations=COUNT, rounds=rounds)


def _structured(texts: Sequence[str]) -> Work:
    from benchmarks.structs import Frame, decode as read

    assert all(isinstance(read(text), Frame) for text in texts)

    def work() -> None:
        for text in texts:
            read(text)

    return work
