"""Identities stay isolated between requests in threads, coroutines and reused workers."""

import asyncio
import contextlib
import random
import threading
import time
from types import SimpleNamespace

import pytest
from flask import Flask, request, stream_with_context

from security import (
    ContextvarsSecurityContext,
    FlaskSecurity,
    JWTProvider,
    KeyStore,
    Request,
    Response,
    SecurityChain,
    SecurityException,
    ThreadLocalSecurityContext,
    is_authenticated_provider,
)

USERS = 8


@pytest.fixture(scope="module")
def tokens(make_token):
    """A token per user, and None for a caller without one."""
    names = [f"user{number}" for number in range(USERS)]
    return {**{name: make_token(userId=name, username=name) for name in names}, None: None}


def build(context, keys_dir) -> SecurityChain:
    return SecurityChain(context, [JWTProvider(KeyStore(keys_dir)), is_authenticated_provider])


def execute(chain, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    chain.execute(Request(SimpleNamespace(headers=headers, path="/")), Response())


def username_after(chain, token: str | None) -> str | None:
    with contextlib.suppress(SecurityException):
        execute(chain, token)
    time.sleep(0)  # let another thread run between the check and the read
    auth = chain.security_context.get_auth()
    return auth.username if auth else None


@pytest.mark.parametrize("context", [ThreadLocalSecurityContext, ContextvarsSecurityContext])
def test_threads_sharing_a_chain_have_separate_identities(keys_dir, tokens, context):
    chain = build(context(), keys_dir)
    mismatches = []

    def work(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(300):
            name = source.choice(list(tokens))
            seen = username_after(chain, tokens[name])
            if seen != name:
                mismatches.append((name, seen))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mismatches == []


def test_coroutines_sharing_a_thread_have_separate_identities(keys_dir, tokens):
    chain = build(ContextvarsSecurityContext(), keys_dir)

    async def serve(name: str | None) -> bool:
        with contextlib.suppress(SecurityException):
            execute(chain, tokens[name])
        for _ in range(3):
            await asyncio.sleep(0)  # lets all other coroutines run
        auth = chain.security_context.get_auth()
        return (auth.username if auth else None) == name

    async def serve_all() -> list[bool]:
        return await asyncio.gather(*(serve(name) for _ in range(40) for name in tokens))

    assert all(asyncio.run(serve_all()))
    assert not chain.security_context.has_auth()


def test_reused_worker_starts_without_an_identity(keys_dir, tokens):
    chain = build(ThreadLocalSecurityContext(), keys_dir)
    assert username_after(chain, tokens["user1"]) == "user1"
    assert username_after(chain, None) is None
    assert username_after(chain, tokens["user2"]) == "user2"
    assert username_after(chain, tokens["user3"] + "x") is None


@pytest.mark.parametrize("context", [None, ThreadLocalSecurityContext, ContextvarsSecurityContext])
def test_flask_requests_in_threads_have_separate_identities(keys_dir, tokens, context):
    app = Flask(__name__)
    builder = FlaskSecurity(context=context() if context else None).keys_dir(keys_dir).public_route("/who").jwt()
    sec = builder.build()

    @app.get("/me")
    @sec.secured
    def me():
        time.sleep(0)
        return sec.context.get_auth().username

    @app.get("/who")
    @sec.secured
    def who():
        return str(sec.context.get_auth())

    mismatches = []

    def work(seed: int) -> None:
        source, client = random.Random(seed), app.test_client()
        for _ in range(60):
            name = source.choice(list(tokens))
            headers = {} if name is None else {"Authorization": f"Bearer {tokens[name]}"}
            reply = client.get("/me", headers=headers)
            reply.close()
            if context is not None and sec.context.has_auth():
                mismatches.append("left behind")
            if (reply.status_code, reply.text) != (200, name) and (name is not None or reply.status_code != 401):
                mismatches.append((name, reply.text))
            if client.get("/who").text != "None":
                mismatches.append("who")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mismatches == []


@pytest.mark.parametrize("context", [None, ThreadLocalSecurityContext, ContextvarsSecurityContext])
def test_before_request_guard_leaves_no_identity_behind(keys_dir, tokens, make_token, context):
    app = Flask(__name__)
    sec = FlaskSecurity(context=context() if context else None).keys_dir(keys_dir).jwt().build()

    @app.before_request
    def guard():
        return sec.check(["api:read"])[1] if request.path != "/open" else None

    @app.get("/me")
    def me():
        return sec.context.get_auth().username

    @app.get("/open")
    def open_to_all():
        return str(sec.context.get_auth())

    client = app.test_client()
    without_scope = make_token(scopes="")
    for token, status in ((tokens["user1"], 200), (without_scope, 403), ("invalid", 401)):
        with client.get("/me", headers={"Authorization": f"Bearer {token}"}) as reply:
            assert reply.status_code == status
        assert client.get("/open").text == "None"


def test_identity_lasts_until_the_response_is_complete(keys_dir, tokens):
    app = Flask(__name__)
    sec = FlaskSecurity().keys_dir(keys_dir).jwt().build()
    after = []

    @app.get("/outer")
    @sec.secured
    def outer():
        inner()
        return stream_with_context(f"{sec.context.get_auth().username} " for _ in range(2))

    @sec.secured
    def inner():
        return "inner"

    @app.after_request
    def note(reply):
        after.append(sec.context.get_auth().username)
        return reply

    reply = app.test_client().get("/outer", headers={"Authorization": f"Bearer {tokens['user1']}"})
    assert reply.text == "user1 user1 "
    assert after == ["user1"]
