"""Commands for this service's own keys."""

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
from service.cli.misplaced_option import AdvisingGroup
from service.tokens.key_setup import open_key_ring

MIN_TABLE_WIDTH = 100  # names of keys are never truncated; a narrow terminal wraps the lines


@click.group("keys", cls=AdvisingGroup)
@click.pass_context
def keys_group(ctx: click.Context) -> None:
    """Manage this service's signing keys (KEYS_DIR).

    docs/guides/keys.md explains how to rotate them.
    """
    settings, _ = ctx.obj
    ctx.obj = open_key_ring(settings.tokens)


@keys_group.command("list")
@click.pass_obj
def list_command(ring: KeyRing) -> None:
    """List all keys.

    Prints the state, kind and age of each key, and when its last token expires.
    """
    table = Table(box=None, pad_edge=False)
    for title in ("KEY", "STATE", "KIND", "AGE", "LAST TOKEN EXPIRES"):
        table.add_column(title, no_wrap=True)
    for entry in ring.entries():
        texts = (entry.name, str(entry.state), _kind(entry), _age(ring.now() - entry.created_at), _expires(entry, ring))
        table.add_row(*(Text(text) for text in texts))
    Console(width=max(Console().width, MIN_TABLE_WIDTH)).print(table)


@keys_group.command("generate")
@click.pass_obj
def generate_command(ring: KeyRing) -> None:
    """Generate a key pair.

    The first pair signs immediately. A further one is published, and signs after the next rotation.
    """
    _reject_unusable_public_keys(ring)
    name = ring.generate()
    state = next(entry.state for entry in ring.entries() if entry.name == name)
    click.echo(f"generated {name} ({state})")
    _print_findings(check(ring))


@keys_group.command("rotate")
@click.option(
    "--wait",
    "wait_s",
    default=PUBLISH_S,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds that the next key must have been published.",
)
@click.pass_obj
def rotate_command(ring: KeyRing, wait_s: float) -> None:
    """Sign with the next key from now on.

    Tokens that are already signed stay valid. If no next key is published, one is generated, and the command waits
    until all services have had time to load it.
    """
    _reject_unusable_public_keys(ring)
    active, following, published_s = ring.prepare()
    left_s = min(wait_s, wait_s - published_s)
    if left_s > 0:
        click.echo(f"published {following}; it signs in {left_s:.0f} s, once cached key sets contain it")
        time.sleep(left_s)
    expires = ring.rotate(active, following)
    click.echo(f"{following} signs from now on; {active} verifies until its last token expires, {_to_text(expires)}")
    _print_findings(check(ring))


@keys_group.command("retire")
@click.argument("names", metavar="KEY...", nargs=-1, required=True)
@click.pass_obj
def retire_command(ring: KeyRing, names: Sequence[str]) -> None:
    """Remove keys immediately, for example after a leak.

    Prints the consequences of each removal.
    """
    for name, breaks in ring.retire(names):
        click.echo(f"removed {name}; consequences: {breaks}")
    active = ring.own(State.ACTIVE)
    click.echo(f"{active[0].name} signs" if active else "no signing key is left, so /token returns 404")
    _print_findings(check(ring))


@keys_group.command("check")
@click.pass_context
def check_command(ctx: click.Context) -> None:
    """Check the key directory.

    Checks pairs, permissions, sizes, and files of interrupted changes, and prints what to do about each problem. Exits
    with status 1 if any is found.
    """
    findings = check(ctx.obj)
    for finding in findings:
        click.echo(_format_finding(finding))
    if any(finding.is_problem for finding in findings):
        ctx.exit(1)
    click.echo(f"{ctx.obj.directory}: {'OK, with notes' if findings else 'OK'}")


def _reject_unusable_public_keys(ring: KeyRing) -> None:
    """Check that running services can load a change.

    Raises:
        KeyException: If a public key is unusable.
    """
    for finding in check(ring):
        if finding.name.endswith(".pub") and finding.is_problem:
            raise KeyException(finding.name, f"{finding.advice}; fix that first. Nothing was changed")


def _print_findings(findings: Sequence[Finding]) -> None:
    """Print findings as warnings after a change."""
    for finding in findings:
        click.echo(_format_finding(finding), err=True)


def _format_finding(finding: Finding) -> str:
    return f"{'problem' if finding.is_problem else 'note'}: {finding.name}: {finding.advice}"


def _kind(entry: Entry) -> str:
    try:
        halves = [Key(entry.public, public=True).verification_key(entry.name).key] if entry.public else []
        if entry.state is not State.PLATFORM or not halves:
            halves += [Key(file).private_key().public_key() for file in entry.private]
    except KeyException:
        return "unusable"
    key = halves[0]
    if any(other != key for other in halves):
        return "not a pair"
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
            return f"{ring.lifetime_s:.0f} s after rotation"
        case State.RETIRING:
            return _to_text(entry.expires) if entry.expires else "unknown"
        case State.PLATFORM:
            return "set by the platform"
    return "no tokens signed"


def _to_text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
