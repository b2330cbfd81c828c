"""The `fedloom` command: its subcommands, and errors as one line."""

import sys
from types import MappingProxyType

import click

from fedloom.cli.lazy import Commands, LazyGroup
from fedloom.shared.errors import FedLoomError
from fedloom.shared.quiet import quiet_libraries

COMMANDS: Commands = MappingProxyType(
    {
        "demo": ("demo", "command", "Run four institutions on real records, and write the report."),
        "simulate": ("simulate", "command", "Run a federation on this machine."),
        "plan": ("plan", "command", "Show what a federation would do and cost, before it does."),
        "evaluate": ("evaluate", "command", "Score an adapter on labelled records."),
        "audit": ("audit", "command", "Measure a federation's privacy beside what it promises."),
        "release": ("release", "command", "Decide whether an adapter may leave, and write it."),
        "verify": ("verify", "command", "Check a release with public keys alone."),
        "provision": ("provision", "command", "Make kits for a server and its sites."),
        "server": ("server", "command", "Serve a federation between institutions."),
        "site": ("site", "command", "Set up and run one institution's own side."),
        "doctor": ("doctor", "command", "Say what ails a server or a site, and how to mend it."),
        "ledger": ("ledger", "command", "Show, verify or export what a site has spent."),
        "config": ("config", "command", "Begin or check a federation.toml."),
        "fetch": ("fetch", "command", "Fetch the demo's models and data by pinned hash."),
    }
)


@click.group(
    cls=LazyGroup,
    commands_by_name=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="fedloom")
@click.option("--debug", is_flag=True, help="Show tracebacks and warnings.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Fine-tune one language model together; records stay where they are."""
    context.obj = debug
    if not debug:
        quiet_libraries()


def main() -> None:
    """Entry point: exit code 1 and one line on standard error when something is wrong."""
    debug = "--debug" in sys.argv[1:]
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except FedLoomError as error:
        if debug:
            raise
        click.echo(f"fedloom: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        click.echo(f"fedloom: {error.filename or 'system'}: {error.strerror}", err=True)
        sys.exit(1)
