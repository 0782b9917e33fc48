"""The command that shows every setting and where it comes from."""

import click

from service.cli.standalone_option import defaults_of
from service.settings import SettingReport, report_settings

_NOT_SET = "(not set)"


@click.command("settings")
@click.option("--check", is_flag=True, help="Print invalid settings only. The status is 1 if any is invalid.")
@click.option("--standalone", "is_standalone", is_flag=True, help="Show the defaults of a standalone run.")
@click.pass_context
def settings_command(ctx: click.Context, check: bool, is_standalone: bool) -> None:
    """Show every setting, where it comes from, and its value.

    Secrets are masked. The environment counts first, then .auth and .env in the working directory, then /run/secrets.
    The status is 1 if a setting is invalid.
    """
    reports = report_settings(defaults_of(is_standalone or ctx.obj[1]))
    invalid = [report for report in reports if report.error is not None]
    name_width = max(len(report.name) for report in reports)
    source_width = max(len(report.source) for report in reports)
    for report in invalid if check else reports:
        click.echo(f"{report.name:<{name_width}}  {report.source:<{source_width}}  {_shown(report)}")
    if invalid:
        raise click.ClickException(f"{len(invalid)} invalid {'setting' if len(invalid) == 1 else 'settings'}")
    if check:
        click.echo(f"all {len(reports)} settings are valid")


def _shown(report: SettingReport) -> str:
    if report.error is not None:
        return f"invalid: {report.error}"
    return _NOT_SET if report.value is None else report.value
