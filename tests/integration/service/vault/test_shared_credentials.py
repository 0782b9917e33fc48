"""A worker that finds its credentials rejected wakes the process that replaces them."""

import multiprocessing
import time

import pytest

from service.settings import Login
from service.vault.shared_credentials import SharedCredentials

LONG_S = 60
SOON_S = 20  # for the start of a process on a busy machine


@pytest.fixture(params=["fork", "spawn"])
def context(request):
    """The ways in which workers start."""
    return multiprocessing.get_context(request.param)


def refuse(shared: SharedCredentials, generation: int) -> None:
    shared.refuse(generation)


@pytest.fixture
def shared():
    credentials = SharedCredentials()
    credentials.publish(Login("ann", "x"))
    return credentials


def test_a_refusal_in_another_process_ends_the_wait(shared, context):
    worker = context.Process(target=refuse, args=(shared, shared.generation))
    begun = time.monotonic()
    worker.start()
    shared.wait(LONG_S)
    worker.join()
    assert time.monotonic() - begun < SOON_S
    assert shared.refused_at() is not None


def test_many_refusals_are_one_wake_up_and_a_later_wait_sleeps(shared):
    for _ in range(100):
        shared.refuse(shared.generation)
    shared.wake()
    shared.wait(LONG_S)
    begun = time.monotonic()
    shared.wait(0.2)
    assert time.monotonic() - begun >= 0.2


def test_the_first_refusal_of_a_generation_counts_and_one_of_an_earlier_generation_does_not(shared):
    first = shared.generation
    shared.refuse(first)
    refused_at = shared.refused_at()
    time.sleep(0.01)
    shared.refuse(first)
    assert shared.refused_at() == refused_at
    shared.publish(Login("bob", "x"))
    assert shared.refused_at() is None
    shared.refuse(first)
    assert shared.refused_at() is None
