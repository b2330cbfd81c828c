"""Groups whose commands are imported only when they run, so that help is quick."""

import importlib
from collections.abc import Mapping

import click

# By the command's name: module, attribute in it, and the line of help.
Commands = Mapping[str, tuple[str, str, str]]


class LazyGroup(click.Group):
    """A group over a table of commands."""

    def __init__(self, *args: object, commands_by_name: Commands, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self._table = commands_by_name

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a user's way."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self._table:
            return None
        module, attribute, _ = self._table[cmd_name]
        command = getattr(importlib.import_module(f"fedloom.cli.commands.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name}: expected a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help lines without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self._table.items()])
