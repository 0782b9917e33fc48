"""Bodies are read to their end, within bounds."""

import asyncio
import tracemalloc

import pytest

from service.errors import RequestRefused
from service.web.door.body import BodyLimits, BodyReader

LIMITS = BodyLimits(bytes=10, held_bytes=25, total_s=0.5, silence_s=0.2)


def source(*messages, pause_s=0.0):
    """Return a `receive` that gives the messages in turn, and then nothing."""
    left = list(messages)

    async def receive():
        if not left:
            await asyncio.Event().wait()
        await asyncio.sleep(pause_s)
        return left.pop(0)

    return receive


def part(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def read(*messages, headers=None, reader=None, **options):
    return asyncio.run((reader or BodyReader(LIMITS)).read(headers or {}, source(*messages, **options)))


def test_a_body_is_the_sum_of_its_parts():
    assert read(part(b"abc"), part(b""), part(b"def", more=False)) == b"abcdef"


def test_a_disconnect_does_not_end_a_body():
    """RFC 9112, section 8: a message that ended early must not be treated as complete."""
    with pytest.raises(RequestRefused, match="before its end") as caught:
        read(part(b"abc"), {"type": "http.disconnect"})
    assert (caught.value.status, caught.value.closes) == (400, True)


@pytest.mark.parametrize("messages", [[part(b"x" * 11)], [part(b"x" * 6), part(b"x" * 6, more=False)]])
def test_a_long_body_is_refused_as_it_arrives(messages):
    with pytest.raises(RequestRefused) as caught:
        read(*messages)
    assert caught.value.status == 413


def test_a_long_body_is_refused_before_it_arrives():
    with pytest.raises(RequestRefused) as caught:
        read(headers={b"content-length": b"11"})
    assert caught.value.status == 413


def test_silence_is_bounded():
    with pytest.raises(RequestRefused, match="in time") as caught:
        read(part(b"a"))
    assert (caught.value.status, caught.value.closes) == (408, True)


def test_the_time_in_all_is_bounded():
    with pytest.raises(RequestRefused, match="in time") as caught:
        read(*[part(b"")] * 100, pause_s=0.05)
    assert caught.value.status == 408


def test_bodies_that_are_held_at_a_time_are_bounded():
    reader = BodyReader(LIMITS)
    first, second = (read(part(b"x" * 10, more=False), reader=reader) for _ in range(2))
    with pytest.raises(RequestRefused) as caught:
        read(part(b"x" * 6, more=False), reader=reader)
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
    reader.release(len(first))
    assert read(part(b"x" * 10, more=False), reader=reader) == second


@pytest.mark.parametrize("messages", [[part(b"x" * 9)], [part(b"x" * 9), {"type": "http.disconnect"}]])
def test_a_refused_body_is_not_held(messages):
    reader = BodyReader(LIMITS)
    for _ in range(5):
        with pytest.raises(RequestRefused):
            read(*messages, reader=reader)
    assert len(read(part(b"x" * 10, more=False), reader=reader)) == 10


def test_parts_of_few_bytes_take_no_more_memory_than_the_body():
    count = 20_000
    limits = BodyLimits(bytes=2 * count, held_bytes=2 * count, total_s=60, silence_s=60)
    made = before = peak = 0

    async def receive():
        nonlocal made, peak
        await asyncio.sleep(0)
        made += 1
        peak = max(peak, tracemalloc.get_traced_memory()[0] - before)
        return part(bytes([made & 255, 1]), made < count)

    async def run():
        nonlocal before
        before = tracemalloc.get_traced_memory()[0]
        return await BodyReader(limits).read({}, receive)

    tracemalloc.start()
    try:
        assert len(asyncio.run(run())) == 2 * count
    finally:
        tracemalloc.stop()
    assert peak < 10 * count
