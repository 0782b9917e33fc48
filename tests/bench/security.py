"""Measures the security chain: for a cached token, and for a new token relative to `jwt.decode` with a loaded key.

Usage: `python -m tests.bench.security [--tokens 2000] [--rounds 7]`. Each round measures all of them in turn.
"""

import statistics
import tempfile
import time
from types import SimpleNamespace

import click
import jwt

from security import (
    JWTProvider,
    KeyStore,
    Request,
    Response,
    SecurityChain,
    ThreadLocalSecurityContext,
    is_authenticated_provider,
)
from security.keys.generation import write_key_pair


@click.command()
@click.option("--tokens", default=2000, help="Number of tokens.")
@click.option("--rounds", default=7, help="Number of rounds.")
def main(tokens: int, rounds: int) -> None:
    """Measure both cases, and print medians and ranges."""
    with tempfile.TemporaryDirectory() as folder:
        write_key_pair(folder, "default")
        _measure(KeyStore(folder), tokens, rounds)


def _measure(store: KeyStore, tokens: int, rounds: int) -> None:
    private, public = store.get_private_key().private_key(), store.verification_keys()["default"].key
    claims = {
        "iss": "jwt-issuer", "iat": int(time.time()), "nbf": 0, "exp": int(time.time()) + 3600, "sub": "u1",
        "userId": "u1", "username": "ann@example.com", "scopes": "api:read", "roles": "user", "organizations": "acme",
    }  # fmt: skip
    encoded = [jwt.encode({**claims, "jti": str(n)}, private, algorithm="RS256") for n in range(tokens)]
    requests = [Request(SimpleNamespace(headers={"Authorization": f"Bearer {token}"}, path="/")) for token in encoded]

    cached_us, ratios, decode_us = [], [], []
    for _ in range(rounds):
        chain = (
            SecurityChain(ThreadLocalSecurityContext())
            .provider(JWTProvider(store, remember=tokens))
            .provider(is_authenticated_provider)
        )
        start = time.perf_counter()
        for request in requests:
            chain.execute(request, Response())
        new_s = time.perf_counter() - start
        start = time.perf_counter()
        for request in requests:
            chain.execute(request, Response())
        cached_us.append((time.perf_counter() - start) / tokens * 1e6)
        start = time.perf_counter()
        for token in encoded:
            jwt.decode(token, public, algorithms=["RS256"], options={"verify_aud": False})
        decode_s = time.perf_counter() - start
        ratios.append(new_s / decode_s)
        decode_us.append(decode_s / tokens * 1e6)
    click.echo(f"cached token: {statistics.median(cached_us):.1f} us ({min(cached_us):.1f} to {max(cached_us):.1f})")
    click.echo(
        f"new token: {statistics.median(ratios):.2f} times jwt.decode ({min(ratios):.2f} to {max(ratios):.2f}; "
        f"jwt.decode took {statistics.median(decode_us):.0f} us)"
    )


if __name__ == "__main__":
    main()
