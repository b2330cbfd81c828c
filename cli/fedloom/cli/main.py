"""The `fedloom` command: finds the subcommand, and turns errors into one line."""

import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType

import click

from fedloom.shared.errors import FedLoomError
from fedloom.shared.quiet import quiet_libraries

# Module and attribute of each command; a module is imported only when its command runs.
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "demo": ("demo", "Run four institutions on real records, and write the report."),
        "simulate": ("simulate", "Run a federation on this machine."),
        "plan": ("plan", "Show what a federation would do and cost, before it does."),
        "evaluate": ("evaluate", "Score an adapter on labelled records."),
        "ledger": ("ledger", "Show, verify or export what a site has spent."),
        "config": ("config", "Begin or check a federation.toml."),
        "fetch": ("fetch", "Fetch the demo's models and data by pinned hash."),
    }
)


class LazyGroup(click.Group):
    """A group whose commands are imported only when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a user's way."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"fedloom.cli.commands.{COMMANDS[cmd_name][0]}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name}: expected a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help lines without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
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
