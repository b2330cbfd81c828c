"""`fedloom site`: one institution's own side of a federation."""

from types import MappingProxyType

import click

from fedloom.cli.lazy import Commands, LazyGroup

COMMANDS: Commands = MappingProxyType(
    {
        "init": ("site_setup", "init", "Begin a site: settings, policy, key and ledger."),
        "check": ("site_setup", "check", "Say on one page what is wrong before anyone joins."),
        "request": ("site_join", "request", "Make keys, and ask a coordinator for a kit."),
        "join": ("site_join", "join", "Join the federation of a kit."),
        "up": ("site_join", "up", "Run the trainer service and the Flower node until stopped."),
        "serve": ("site_service", "serve", "Serve the site's records to its own relay."),
        "status": ("site_service", "status", "Show budget, ledger and plans."),
        "approve": ("site_service", "approve", "Show a plan that waits, and sign for it."),
        "units": ("site_join", "units", "Write units for systemd, with a user for each role."),
        "withdraw": ("site_service", "withdraw", "Take back an approval, or drop what waits."),
        "ledger": ("ledger", "command", "Show, verify or export what the site has spent."),
    }
)


@click.command("site", cls=LazyGroup, commands_by_name=COMMANDS)
def command() -> None:
    """Set up and run one institution's side: records, policy, ledger, trainer service."""
