"""The command that shows every setting and where it comes from."""

import click

from service.cli.standalone_option import defaults_of
from service.plural import counted
from service.settings import SettingReport, load_settings, misspelt_settings, report_settings

_NOT_SET = "(not set)"


@click.command("settings")
@click.option("--check", is_flag=True, help="Print only what would stop a start, or is misspelt.")
@click.option("--standalone", "is_standalone", is_flag=True, help="Show the defaults of a standalone run.")
@click.pass_context
def settings_command(ctx: click.Context, check: bool, is_standalone: bool) -> None:
    """Show every setting, where it comes from, and its value.

    Secrets are masked. The environment counts first, then .auth and .env in the working directory, then /run/secrets.
    The status is 1 if a setting is invalid. --check also checks settings with each other and the files that they name,
    as a start does, without connecting to anything; its status is 1 if anything is wrong, or if a name is misspelt.
    """
    is_standalone = is_standalone or ctx.obj[1]
    reports = report_settings(defaults_of(is_standalone))
    invalid = [report for report in reports if report.error is not None]
    name_width = max(len(report.name) for report in reports)
    source_width = max(len(report.source) for report in reports)
    for report in invalid if check else reports:
        click.echo(f"{report.name:<{name_width}}  {report.source:<{source_width}}  {_shown(report)}")
    failures = [counted(len(invalid), "invalid setting")] if invalid else []
    if check:
        rules = [] if invalid else _broken_rules(is_standalone)
        for message in rules:
            click.echo(message)
        misspelt = len(list(misspelt_settings()))  # each has been logged
        failures += [counted(len(rules), "broken rule")] if rules else []
        failures += [counted(misspelt, "misspelt name")] if misspelt else []
    if failures:
        raise click.ClickException(", ".join(failures))
    if check:
        click.echo(f"all {len(reports)} settings are valid")


def _broken_rules(is_standalone: bool) -> list[str]:
    from service.runtime.settings_check import broken_rules

    return broken_rules(load_settings(defaults_of(is_standalone)), is_standalone)


def _shown(report: SettingReport) -> str:
    if report.error is not None:
        return f"invalid: {report.error}"
    return _NOT_SET if report.value is None else report.value
