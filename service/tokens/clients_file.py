"""The file of clients: who may ask for tokens, what for, and the hashes of their secrets."""

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from security.files import locked, write_atomic
from security.secret_hash import PATTERN, hash_secret
from security.strict_json import reject_duplicate_names
from service.errors import SettingsError
from service.settings import Name
from service.tokens.issuer import READ, Subject

_PLAIN = ("secret", "client_secret", "password", "pw")


def _word(text: str) -> str:
    # RFC 6749, appendix A.4; Microkubes joins several with commas or spaces
    if not re.fullmatch(r"[\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]+", text):
        raise ValueError("expected printable ASCII without spaces, commas, quotes and backslashes")
    return text


def _hash(text: str) -> str:
    if not PATTERN.fullmatch(text):
        raise ValueError("expected a hash as `python service.py client add` makes it, never the secret itself")
    return text


def checked_words(field: str, words: Sequence[str]) -> tuple[str, ...]:
    """Words that a token can carry in a list. Raises: SettingsError naming the field."""
    try:
        return tuple(_word(word) for word in words)
    except ValueError as err:
        raise SettingsError(f"{field}: {err}") from None


Words = tuple[Annotated[str, AfterValidator(_word)], ...]


class Client(BaseModel):
    """A client, and what the tokens that it gets may say at most."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    client_id: Name
    secret_hash: Annotated[str, AfterValidator(_hash)]
    scopes: Words = Field(default=READ, min_length=1)
    roles: Words = ()
    organizations: Words = ()
    namespaces: Words = ()

    def subject(self) -> Subject:
        """Whom its tokens speak of."""
        return Subject(self.client_id, self.scopes, self.roles, self.organizations, self.namespaces)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    clients: tuple[Client, ...] = ()


def read_clients(path: Path) -> list[Client]:
    """The clients of a file. Raises: SettingsError naming each wrong field; none of them is repeated."""
    try:
        document = json.loads(path.read_bytes(), object_pairs_hook=reject_duplicate_names)
    except OSError as err:
        raise SettingsError(f"CLIENTS_FILE: {path} cannot be read: {err.strerror}") from err
    except (ValueError, RecursionError) as err:
        said = f"line {err.lineno}: {err.msg}" if isinstance(err, json.JSONDecodeError) else str(err)
        raise SettingsError(f"CLIENTS_FILE: {path} is not JSON: {said}") from None
    try:
        clients = list(_File.model_validate(document).clients)
    except ValidationError as err:
        wrong = "; ".join(f"{_where(e['loc'])}: {_what(e)}" for e in err.errors(include_input=False))
        raise SettingsError(f"CLIENTS_FILE: {path}: {wrong}") from None
    twice = [name for name, times in Counter(client.client_id for client in clients).items() if times > 1]
    if twice:
        raise SettingsError(f"CLIENTS_FILE: {path}: client_id: {', '.join(twice)} is there twice")
    return clients


def add_client(path: Path, subject: Subject) -> str:
    """Add a client. Returns its secret, which is kept nowhere else.

    Raises: SettingsError, also when there is one of this name.
    """
    secret = secrets.token_urlsafe(32)
    try:
        client = Client(
            client_id=subject.name,
            secret_hash=hash_secret(secret),
            scopes=subject.scopes,
            roles=subject.roles,
            organizations=subject.organizations,
            namespaces=subject.namespaces,
        )
    except ValidationError as err:
        raise SettingsError("; ".join(f"{_where(e['loc'])}: {_what(e)}" for e in err.errors())) from None
    with _changing(path) as clients:
        if any(other.client_id == client.client_id for other in clients):
            raise SettingsError(f"{path}: there is a client {client.client_id} already")
        clients.append(client)
    return secret


def remove_client(path: Path, name: str) -> None:
    """Remove a client. Tokens that it has are valid until they expire. Raises: SettingsError."""
    with _changing(path) as clients:
        kept = [client for client in clients if client.client_id != name]
        if len(kept) == len(clients):
            raise SettingsError(f"{path}: there is no client {name}")
        clients[:] = kept


@contextmanager
def _changing(path: Path) -> Iterator[list[Client]]:
    """The clients of the file, which is written anew with what becomes of them. Raises: SettingsError."""
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            clients = read_clients(path) if path.exists() else []
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
            yield clients
            document = _File(clients=tuple(clients)).model_dump(exclude_defaults=True)
            write_atomic(path, json.dumps({"clients": [], **document}, indent=2).encode() + b"\n", mode)
    except OSError as err:
        raise SettingsError(f"CLIENTS_FILE: {path} cannot be changed: {err.strerror}") from err


def _where(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "file"


def _what(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        if error["loc"][-1] in _PLAIN:
            return "a secret in plain text has no place here; have one made and hashed: python service.py client add"
        return f"is not known; expected {', '.join(Client.model_fields)}"
    known = {"model_type": "expected an object", "too_short": "expected at least one", "tuple_type": "expected a list"}
    return known.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
