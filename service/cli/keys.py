"""Commands about this service's own keys."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import click
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from rich.console import Console
from rich.table import Table
from rich.text import Text

from security.errors import KeyException
from security.keys.check import Finding, check
from security.keys.key_file import Key
from security.keys.rotation import PUBLISH_S, Entry, KeyRing, State
from service.tokens.key_setup import open_key_ring

WIDTH = 100


@click.group("keys")
@click.pass_context
def keys_group(ctx: click.Context) -> None:
    """This service's own keys: see keys/README.md (KEYS_DIR)."""
    settings, _ = ctx.obj
    ctx.obj = open_key_ring(settings.tokens)


@keys_group.command("list")
@click.pass_obj
def list_command(ring: KeyRing) -> None:
    """Every key of the directory: kind, size, age, state, and when its last token expires."""
    table = Table(box=None, pad_edge=False)
    for title in ("KEY", "STATE", "KIND", "AGE", "LAST TOKEN EXPIRES"):
        table.add_column(title, no_wrap=True)
    for entry in ring.entries():
        texts = (entry.name, str(entry.state), _kind(entry), _age(ring.now() - entry.created_at), _expires(entry, ring))
        table.add_row(*(Text(text) for text in texts))
    # names are never cut short: a narrow terminal breaks the lines itself
    Console(width=max(Console().width, WIDTH)).print(table)


@keys_group.command("generate")
@click.pass_obj
def generate_command(ring: KeyRing) -> None:
    """Make a key pair: the first one signs at once, another one is next."""
    _reject_while_unread(ring)
    name = ring.generate()
    state = next(entry.state for entry in ring.entries() if entry.name == name)
    click.echo(f"made {name}, which is {state}")
    _tell(check(ring))


@keys_group.command("rotate")
@click.option(
    "--wait",
    "wait_s",
    default=PUBLISH_S,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds that the next key has to have been published.",
)
@click.pass_obj
def rotate_command(ring: KeyRing, wait_s: float) -> None:
    """Sign with the next key from now on; what is signed already stays valid.

    Without a next key one is published first, and signs when everybody has had the time to see it.
    """
    _reject_while_unread(ring)
    active, following, published_s = ring.prepare()
    left_s = min(wait_s, wait_s - published_s)
    if left_s > 0:
        click.echo(f"{following} is published; it signs in {left_s:.0f} s, when whoever keeps a copy has seen it")
        time.sleep(left_s)
    expires = ring.rotate(active, following)
    click.echo(f"{following} signs from now on; {active} verifies until {_shown(expires)}, when its last token expires")
    _tell(check(ring))


@keys_group.command("retire")
@click.argument("names", metavar="KEY...", nargs=-1, required=True)
@click.pass_obj
def retire_command(ring: KeyRing, names: Sequence[str]) -> None:
    """Remove keys at once, as when they have leaked, and say what that breaks."""
    for name, breaks in ring.retire(names):
        click.echo(f"{name} is out; that breaks: {breaks}")
    active = ring.own(State.ACTIVE)
    click.echo(f"{active[0].name} signs" if active else "no key signs: /token is 404")
    _tell(check(ring))


@keys_group.command("check")
@click.pass_context
def check_command(ctx: click.Context) -> None:
    """Verify pairs, permissions, sizes and leftovers, and say what to do. Status 1 if something has to be done."""
    findings = check(ctx.obj)
    for finding in findings:
        click.echo(_line(finding))
    if any(finding.is_problem for finding in findings):
        ctx.exit(1)
    click.echo(f"{ctx.obj.directory}: {'nothing is wrong' if findings else 'all is well'}")


def _reject_while_unread(ring: KeyRing) -> None:
    """Raises: KeyException while a public key keeps running services from taking up any change."""
    for finding in check(ring):
        if finding.name.endswith(".pub") and finding.is_problem:
            raise KeyException(finding.name, f"{finding.advice}; mend that first, nothing was done")


def _tell(findings: Sequence[Finding]) -> None:
    """Say after a change what else there is to do."""
    for finding in findings:
        click.echo(_line(finding), err=True)


def _line(finding: Finding) -> str:
    return f"{'wrong' if finding.is_problem else 'note'}: {finding.name}: {finding.advice}"


def _kind(entry: Entry) -> str:
    try:
        halves = [Key(entry.public, public=True).verification_key(entry.name).key] if entry.public else []
        if entry.state is not State.PLATFORM or not halves:
            halves += [Key(file).private_key().public_key() for file in entry.private]
    except KeyException:
        return "cannot be used"
    key = halves[0]
    if any(other != key for other in halves):
        return "no pair"
    return f"RSA {key.key_size}" if isinstance(key, RSAPublicKey) else f"EC {key.curve.name}"


def _age(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{max(0, seconds)} s"


def _expires(entry: Entry, ring: KeyRing) -> str:
    match entry.state:
        case State.ACTIVE:
            return f"{ring.lifetime_s:.0f} s after it is rotated"
        case State.RETIRING:
            return _shown(entry.expires) if entry.expires else "unknown"
        case State.PLATFORM:
            return "as the platform has it"
    return "it has signed none"


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
