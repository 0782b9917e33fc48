"""The clients file: names of clients, hashes of their secrets, and what their tokens may contain."""

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from security.files import locked, read_bounded, write_atomic
from security.secret_hash import PATTERN, hash_secret
from security.strict_json import parse_json
from service.errors import SettingsError
from service.invocation import command_line
from service.settings import Name
from service.tokens.issuer import READ, Subject

MAX_BYTES = 20_000_000  # about 50,000 clients
_PLAINTEXT_FIELDS = ("secret", "client_secret", "password", "pw")


def _check_word(text: str) -> str:
    # RFC 6749, appendix A.4. Microkubes joins several words with commas or spaces.
    if not re.fullmatch(r"[\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]+", text):
        raise ValueError("expected printable ASCII without spaces, commas, quotes or backslashes")
    return text


def _check_name(text: str) -> str:
    # A token joins names with commas, and its readers ignore spaces around each one.
    if not text or "," in text or text != text.strip() or not text.isprintable():
        raise ValueError("expected a name without commas, control characters or spaces around it")
    return text


def _check_hash(text: str) -> str:
    if not PATTERN.fullmatch(text):
        raise ValueError(f"expected a hash from `{command_line('client add')}`, not the secret itself")
    return text


def check_words(field: str, words: Sequence[str]) -> tuple[str, ...]:
    """Check that a token can contain these words in a list, and return them.

    Raises:
        SettingsError: If a word has other characters. The message names the field.
    """
    try:
        return tuple(_check_word(word) for word in words)
    except ValueError as err:
        raise SettingsError(f"{field}: {err}") from None


Words = tuple[Annotated[str, AfterValidator(_check_word)], ...]
Names = tuple[Annotated[str, AfterValidator(_check_name)], ...]


class Client(BaseModel):
    """A client, and the most that its tokens may contain."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    client_id: Name
    secret_hash: Annotated[str, AfterValidator(_check_hash)]
    scopes: Words = Field(default=READ, min_length=1)
    roles: Names = ()
    organizations: Names = ()
    namespaces: Names = ()

    def subject(self) -> Subject:
        """Return the subject of its tokens."""
        return Subject(self.client_id, self.scopes, self.roles, self.organizations, self.namespaces)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    clients: tuple[Client, ...] = ()


def read_clients(path: Path) -> list[Client]:
    """Read a clients file.

    Raises:
        SettingsError: If the file is unusable. The message names each wrong field, but shows no value.
    """
    try:
        document = parse_json(read_bounded(path, MAX_BYTES).decode("utf-8-sig"))
    except OSError as err:
        raise SettingsError(f"CLIENTS_FILE: {path} cannot be read: {err.strerror}") from err
    except ValueError as err:
        reason = f"line {err.lineno}: {err.msg}" if isinstance(err, json.JSONDecodeError) else str(err)
        raise SettingsError(f"CLIENTS_FILE: {path} is not JSON: {reason}") from None
    try:
        clients = list(_File.model_validate(document).clients)
    except ValidationError as err:
        raise SettingsError(f"CLIENTS_FILE: {path}: {_to_message(err)}") from None
    duplicates = [name for name, times in Counter(client.client_id for client in clients).items() if times > 1]
    if duplicates:
        raise SettingsError(f"CLIENTS_FILE: {path}: client_id: duplicate {', '.join(duplicates)}")
    return clients


def add_client(path: Path, subject: Subject) -> str:
    """Add a client.

    Args:
        path: The clients file. It is created if it does not exist.
        subject: The client's name, and what its tokens may contain.

    Returns:
        The client's secret. The file has only its hash.

    Raises:
        SettingsError: If a client with this name exists, or if the file cannot be changed.
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
        raise SettingsError(_to_message(err)) from None
    with _edit(path) as clients:
        if any(other.client_id == client.client_id for other in clients):
            raise SettingsError(f"{path}: client {client.client_id} already exists")
        clients.append(client)
    return secret


def remove_client(path: Path, name: str) -> None:
    """Remove a client. Its tokens stay valid until they expire.

    Raises:
        SettingsError: If the client does not exist, or if the file cannot be changed.
    """
    with _edit(path) as clients:
        kept = [client for client in clients if client.client_id != name]
        if len(kept) == len(clients):
            raise SettingsError(f"{path}: no such client: {name}")
        clients[:] = kept


@contextmanager
def _edit(path: Path) -> Iterator[list[Client]]:
    """Yield the clients in the file, and write the list back at the end. One process edits the file at a time.

    Raises:
        SettingsError: If the file is unusable or cannot be written.
    """
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            clients = read_clients(path) if path.exists() else []
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
            yield clients
            document = _File(clients=tuple(clients)).model_dump(exclude_defaults=True)
            write_atomic(path, json.dumps({"clients": [], **document}, indent=2).encode() + b"\n", mode)
    except OSError as err:
        raise SettingsError(f"CLIENTS_FILE: {path} cannot be changed: {err.strerror}") from err


def _to_message(err: ValidationError) -> str:
    return "; ".join(f"{_field(error['loc'])}: {_reason(error)}" for error in err.errors(include_input=False))


def _field(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "file"


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        if error["loc"][-1] in _PLAINTEXT_FIELDS:
            return f"plaintext secrets are not allowed; create and hash one with: {command_line('client add')}"
        return f"unknown field; expected {', '.join(Client.model_fields)}"
    reasons = {
        "model_type": "expected an object",
        "too_short": "expected at least one",
        "tuple_type": "expected a list",
    }
    return reasons.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
