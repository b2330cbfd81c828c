"""A run as it goes, line by line, from the files that it leaves."""

import shlex
import time
from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter

import click

from fedloom.server.deploy.events import EventLog, RunEvent
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.starting import Begun
from fedloom.server.deploy.wanted import read_wanted
from fedloom.server.run.journal import Journal
from fedloom.server.run.telling import round_told

_LOOK_SECONDS = 0.5
_ENDS = frozenset({"finished", "given-up", "stopped"})


def follow(home: ServerHome, begun: Begun) -> int:
    """Print what happens until the run ends; the exit code that its end deserves.

    Ctrl-C ends the following alone, and says so: it is not how a run is stopped. While the server
    is not up, that is said, as nothing happens.
    """
    try:
        return _followed(home, begun)
    except KeyboardInterrupt:
        click.echo(
            f"\nnot followed any more; run {begun.name} is wanted: the keeper goes on with it "
            f"while the server is up; fedloom server stop {begun.name} ends it",
            err=True,
        )
        return 130


def _followed(home: ServerHome, begun: Begun) -> int:
    seen, was_up = _Seen(), True
    while True:
        state = read_wanted(begun.folder).state
        for line in seen.news(begun):
            click.echo(line)
        if state in _ENDS:
            return _said(begun, state)
        up = home.is_up
        if was_up and not up:
            click.echo(_away(home, begun))
        was_up = up
        time.sleep(_LOOK_SECONDS)


def _away(home: ServerHome, begun: Begun) -> str:
    goes = "goes on" if EventLog.of(begun.folder).events() else "begins"
    up = f"fedloom server up {shlex.quote(str(home.path))}"
    return f"the server is not up: the run {goes} when it is ({up})"


class _Seen:
    """What was printed already."""

    def __init__(self) -> None:
        self._rounds = 0
        self._events = 0

    def news(self, begun: Begun) -> Iterator[str]:
        """Lines for what came since."""
        events = EventLog.of(begun.folder).events()
        rounds = Journal(begun.folder.rounds).entries()
        lines = [(event.at, _event(event)) for event in events[self._events :]]
        now = time.time()
        lines += [(now, f"{_clock(now)} {round_told(at)}") for at in rounds[self._rounds :]]
        self._events, self._rounds = len(events), len(rounds)
        # By time alone: as text, round 10 comes before round 2.
        return (line for _, line in sorted(lines, key=itemgetter(0)))


def _event(event: RunEvent) -> str:
    return f"{_clock(event.at)} {event.kind}: {event.detail}"


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%H:%M:%S}"


def _said(begun: Begun, state: str) -> int:
    if state == "finished":
        click.echo(f"adapter {begun.folder.adapter}")
        click.echo(f"report  {begun.folder.report_html}")
        return 0
    click.echo(f"{state}; fedloom server run --resume {begun.name} goes on", err=True)
    return 1
