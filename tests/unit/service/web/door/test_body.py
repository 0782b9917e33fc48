"""Bodies are read to their end, within bounds."""

import asyncio

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
