"""`fedloom site serve | status | approve | withdraw`: a site's service and its steward."""

import logging
import os
import signal
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedloom.cli.site_file import SITE

if TYPE_CHECKING:
    from fedloom.shared.plan import Plan


@click.command("serve")
@SITE
@click.option("--log-json", is_flag=True, help="Log a JSON object a line, without tracebacks.")
@click.option("--metrics", is_flag=True, help="Metrics for Prometheus, two ports above node.port.")
def serve(site: Path, log_json: bool, metrics: bool) -> None:
    """Serve SITE, a site.toml or its folder, to its relay until stopped.

    One service serves one dataset. The base model and the records stay loaded between rounds.
    What leaves, and what it costs, is decided here, by policy.toml and the ledger.
    """
    _log(as_json=log_json)
    # Libraries, model and ledger take a while.
    logging.getLogger("fedloom.site").info("starting the trainer service of %s", site)
    # Read when the libraries are imported: a site never downloads anything.
    os.environ["HF_HUB_OFFLINE"] = "1"
    from fedloom.client.rpc.serving import serving
    from fedloom.client.site.holding import ready_to_serve

    with (
        ready_to_serve(site) as ready,
        serving(ready.desk, ready.address),
        _metrics(site) if metrics else nullcontext(),
    ):
        for text in ready.warnings:
            click.echo(f"note: {text}")
        click.echo(f"serving {site} on {ready.address.target}; Ctrl-C stops")
        if ready.address.socket is not None:
            click.echo(
                "note: a socket keeps other users out, but what runs as this user, a bundle too, "
                "can read the records; two users need loopback with TLS (docs/site.md)"
            )
        _until_stopped()
    click.echo("stopped")


@click.command("status")
@SITE
def status(site: Path) -> None:
    """Show what SITE has spent, what waits, and whether its service answers."""
    from fedloom.client.site.status import status_lines

    # Whether the service answers is a line of its own.
    logging.getLogger("fedloom.relay").setLevel(logging.CRITICAL)
    for line in status_lines(site):
        click.echo(line)


@click.command("approve")
@SITE
@click.argument("plan")
@click.option("--yes", is_flag=True, help="Sign without asking.")
def approve(site: Path, plan: str, yes: bool) -> None:
    """Show PLAN in plain words, and sign for it: its SHA-256 or the beginning of it, or a file.

    Under `approval.mode = "manual"` no round of a plan trains before this. PLAN may be one that
    a coordinator asked for, as `fedloom site status` lists them, or a plan.toml that it sent.
    """
    from fedloom.client.site.steward import Steward

    steward = Steward.of(site)
    done = steward.approved(plan)
    if done is not None:
        click.echo(f"already approved: plan {done.plan[:12]}, at {done.at}; nothing was signed")
        return
    found = steward.find(plan)
    for line in steward.explain(found):
        click.echo(line)
    steward.check(found)
    if not (yes or click.confirm("Sign for this plan?")):
        click.echo("not signed")
        raise SystemExit(1)
    steward.approve(found)
    _say_signed(found)


@click.command("withdraw")
@SITE
@click.argument("plan")
def withdraw(site: Path, plan: str) -> None:
    """Take back the approval of PLAN, or have it wait no longer: by the beginning of its SHA-256.

    Its next round is then refused, also while a service runs; a round that is at work ends.
    """
    from fedloom.client.site.steward import Steward

    for line in Steward.of(site).withdraw(plan):
        click.echo(line)


def _say_signed(plan: "Plan") -> None:
    click.echo(f"signed: plan {plan.sha256[:12]} may train, within policy.toml")


def _metrics(site: Path) -> AbstractContextManager[None]:
    from fedloom.client.deploy.metrics import serving_metrics
    from fedloom.client.site.config import read_site_config

    return serving_metrics(site, read_site_config(site).node.metrics_port)


def _log(*, as_json: bool) -> None:
    from fedloom.shared.logs import log_as_json, log_for_people

    if as_json:
        log_as_json()
    else:
        log_for_people()


def _until_stopped() -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
