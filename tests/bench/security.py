"""The cost of the security chain: on a token seen before, and on a new one against `jwt.decode` with a ready key.

`python -m tests.bench.security [--tokens 2000] [--rounds 7]`. The two kinds of verification are timed in turn.
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
@click.option("--tokens", default=2000)
@click.option("--rounds", default=7)
def main(tokens: int, rounds: int) -> None:
    """Print both, with their spread."""
    with tempfile.TemporaryDirectory() as folder:
        write_key_pair(folder, "default")
        _measure(KeyStore(folder), tokens, rounds)


def _measure(store: KeyStore, tokens: int, rounds: int) -> None:
    private, public = store.get_private_key().private_key(), store.verification_keys()["default"].key
    claims = {
        "iss": "jwt-issuer", "iat": int(time.time()), "nbf": 0, "exp": int(time.time()) + 3600, "sub": "u1",
        "userId": "u1", "username": "ann@example.com", "scopes": "api:read", "roles": "user", "organizations": "acme",
    }  # fmt: skip
    shown = [jwt.encode({**claims, "jti": str(n)}, private, algorithm="RS256") for n in range(tokens)]
    requests = [Request(SimpleNamespace(headers={"Authorization": f"Bearer {token}"}, path="/")) for token in shown]

    seen, ratios, plain = [], [], []
    for _ in range(rounds):
        chain = (
            SecurityChain(ThreadLocalSecurityContext())
            .provider(JWTProvider(store, remember=tokens))
            .provider(is_authenticated_provider)
        )
        begun = time.perf_counter()
        for request in requests:
            chain.execute(request, Response())
        new_s = time.perf_counter() - begun
        begun = time.perf_counter()
        for request in requests:
            chain.execute(request, Response())
        seen.append((time.perf_counter() - begun) / tokens * 1e6)
        begun = time.perf_counter()
        for token in shown:
            jwt.decode(token, public, algorithms=["RS256"], options={"verify_aud": False})
        decode_s = time.perf_counter() - begun
        ratios.append(new_s / decode_s)
        plain.append(decode_s / tokens * 1e6)
    click.echo(f"a token seen before: {min(seen):.1f} to {max(seen):.1f} us, median {statistics.median(seen):.1f}")
    click.echo(
        f"a new token: {statistics.median(ratios):.2f} times jwt.decode ({min(ratios):.2f} to {max(ratios):.2f}; "
        f"jwt.decode took {statistics.median(plain):.0f} us)"
    )


if __name__ == "__main__":
    main()
