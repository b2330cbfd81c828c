"""The Flower strategy: rounds with quorum, one deadline, streaming and durable checkpoints."""

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from fedloom.server.aggregation.momentum import with_momentum
from fedloom.server.aggregation.registry import AGGREGATORS
from fedloom.server.asked import Reply
from fedloom.server.exchange import replies
from fedloom.server.intake import Intake
from fedloom.server.parties import Parties
from fedloom.server.roster import Roster
from fedloom.server.run.checkpoint import latest_checkpoint, read_checkpoint, write_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.heads import HeadBook
from fedloom.server.run.journal import Journal, RoundEntry
from fedloom.server.run.telling import round_told
from fedloom.shared.adapter import Adapter
from fedloom.shared.errors import QuorumError
from fedloom.shared.phases import phase_in
from fedloom.shared.plan import Plan
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import to_records
from fedloom.shared.wire.messages import TrainTask
from fedloom.shared.wire.signed import asked_digest
from fedloom.shared.words import count

RoundObserver = Callable[[int, Adapter, RoundEntry | None], None]
"""Called once with the start (or the adapter resumed from), then after each durable round."""

logger = logging.getLogger("fedloom.server")


class FedLoomStrategy(Strategy):
    """Runs one plan from its last durable round to its end.

    Guarantee: at most one reply is held in memory; a round counts only with the plan's quorum
    and is durable before the next begins; a site that fails, lags or lies is named in the
    journal, left out of that round, and never stops the others. Rounds, deadline and messages
    come from the plan alone.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        *,
        roster: Roster,
        parties: Parties,
        initial: Adapter,
        heads: HeadBook,
        observers: Iterable[RoundObserver] = (),
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._roster = roster
        self._parties = parties
        # By site, the digests of what it was asked in this round: its answer must be to one.
        self._asked: dict[str, list[str]] = {}
        self._initial = initial
        self._observers = tuple(observers)
        self._journal = Journal(folder.rounds)
        self._heads = heads
        self._aggregator = AGGREGATORS[plan.aggregation.method]()
        # The velocity of the server's momentum is the difference of the two.
        self._previous = self._current = initial

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int = 0,
        timeout: float = 0,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """All rounds that are not durable yet; Flower's own arguments are not used.

        Raises:
            QuorumError: too few sites answered a round; a resume goes on from there.
            CheckpointError: there are checkpoints and none is whole.
        """
        done = self._restore()
        self._observe(done, None)
        for number in range(done + 1, self._plan.rounds.total + 1):
            self._round(grid, number)
        return Result()

    @property
    def current(self) -> Adapter:
        """The global adapter as of now."""
        return self._current

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message a connected site, each with records of its own; largest sites first."""
        return self._messages(server_round).values()

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Fold replies, matched to sites by the node they come from; the new state is kept."""
        sites = {node: site for site, node in self._roster.nodes.items()}
        known = (message for message in replies if message.metadata.src_node_id in sites)
        stream = (Reply(site=sites[m.metadata.src_node_id], message=m) for m in known)
        self._advance(self._aggregate(server_round, stream)[1])
        return None, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """None: what a site may tell of its records comes with its update, noised and charged."""
        return ()

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """None, as there is nothing to aggregate."""
        return None

    def summary(self) -> None:
        """Log what is about to run."""
        sites = count(len(self._plan.sites), "site")
        logger.info("plan %s: %s, %s", self._plan.sha256[:12], sites, self._plan.name)

    def _restore(self) -> int:
        checkpoints, plan_sha256 = self._folder.checkpoints, self._plan.sha256
        needed = 2 if self._plan.aggregation.server_momentum else 1
        found = latest_checkpoint(checkpoints, plan_sha256, needed=needed)
        if found is None:
            write_checkpoint(checkpoints, 0, self._initial, plan_sha256)
            return 0
        number, self._current = found
        if needed > 1:
            self._previous = read_checkpoint(checkpoints, max(0, number - 1), plan_sha256)
        return number

    def _round(self, grid: Grid, number: int) -> None:
        began = time.monotonic()
        deadline = self._plan.rounds.deadline_seconds
        self._asked.clear()
        self._roster.look_again(grid)
        stream = replies(
            grid,
            self._messages(number),
            deadline_seconds=deadline,
            again=partial(self._again, grid, number) if self._roster.asks_again else None,
            left=self._roster.just_left,
        )
        intake, following = self._aggregate(number, stream)
        entry = RoundEntry(
            round=number,
            accepted=intake.accepted,
            seconds=time.monotonic() - began,
            adapter_sha256=following.sha256,
            sites=intake.outcomes(),
        )
        self._journal.append(entry)
        write_checkpoint(self._folder.checkpoints, number, following, self._plan.sha256)
        self._advance(following)
        logger.info("%s", round_told(entry), extra={"round": number})
        self._observe(number, entry)

    def _messages(self, number: int) -> dict[str, Message]:
        by_size = sorted(self._plan.sites, key=lambda site: -site.declared_units)
        connected = [site.name for site in by_size if site.name in self._roster.nodes]
        return {name: self._message(number, name) for name in connected}

    def _again(self, grid: Grid, number: int, site: str, seconds: float) -> Message | None:
        """The same task again: a site that has sealed its update answers at once."""
        if not self._roster.is_there(grid, site):
            return None
        return self._message(number, site, seconds=seconds)

    def _message(self, number: int, site: str, *, seconds: float | None = None) -> Message:
        task = TrainTask(plan=self._plan, site=site, round=number, adapter=self._current)
        question = Envelope(frame=task.pack(), head=self._heads.of(site))
        left = seconds or self._plan.rounds.deadline_seconds
        asked = self._parties.asked(question, seconds=left)
        self._asked.setdefault(site, []).append(asked_digest(asked))
        return Message(
            to_records(asked),
            dst_node_id=self._roster.last_node(site),
            message_type="train",
            ttl=left,
            group_id=str(number),
        )

    def _aggregate(self, number: int, stream: Iterable[Reply]) -> tuple[Intake, Adapter]:
        intake = Intake(
            self._plan,
            number,
            self._current,
            self._aggregator,
            heads=self._heads,
            is_from=self._is_from,
        )
        for reply in stream:
            intake.take(reply)
        quorum = self._plan.rounds.quorum
        if intake.accepted < quorum:
            accepted, faults = intake.accepted, intake.faults()
            raise QuorumError(number, accepted=accepted, quorum=quorum, faults=faults)
        return intake, self._moved(number, self._aggregator.finish())

    def _is_from(self, site: str, answer: Envelope) -> bool:
        asked = self._asked.get(site, ())
        return any(self._parties.is_from(site, answer, digest) for digest in asked)

    def _moved(self, number: int, woven: Adapter) -> Adapter:
        return with_momentum(
            woven,
            trained=phase_in(self._plan, number).layout(woven.layout),
            current=self._current,
            previous=self._previous,
            momentum=self._plan.aggregation.server_momentum,
        )

    def _advance(self, following: Adapter) -> None:
        self._previous, self._current = self._current, following

    def _observe(self, number: int, entry: RoundEntry | None) -> None:
        for observe in self._observers:
            observe(number, self._current, entry)
