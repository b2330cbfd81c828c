"""Reports of every shape, and their pages read back."""

from html.parser import HTMLParser

from fedloom.server.report.facts import (
    LedgerFacts,
    ModelFacts,
    PrivacyFacts,
    SiteFacts,
    TaskFacts,
    TrainingFacts,
)
from fedloom.server.report.schema import Arm, CurvePoint, Estimate, Report, Scores, Timings
from fedloom.server.run.journal import RoundEntry, SiteRound

HOSTILE = "--><script>alert(1)</script>|$\\frac$"
DIGEST = "0123456789abcdef" * 4
VOID = {"meta", "link", "br", "img", "hr", "input"}
BLOCKS = {"td", "th", "dt", "dd", "div", "span"}


def scores(accuracy: float) -> Scores:
    """Scores that differ, so that a mixed-up column shows."""

    def around(value: float) -> Estimate:
        return Estimate(value=value, low=value - 0.03, high=value + 0.03)

    return Scores(
        records=1200,
        accuracy=around(accuracy),
        macro_f1=around(accuracy - 0.011),
        loss=around(0.612),
        ece=around(0.057),
    )


def an_arm(name: str, kind: str, accuracy: float, *, epsilon: float | None = None) -> Arm:
    """An arm that does two points better on north's records."""
    tests = {"north": scores(accuracy + 0.02), "joint": scores(accuracy)}
    fields = {"name": name, "kind": kind, "description": f"{name}, told", "epsilon": epsilon}
    return Arm.model_validate(fields | {"tests": tests})


def a_site(
    name: str, *, spent: float | None = 7.9, left: float | None = 0.125, digest: str = DIGEST
) -> SiteFacts:
    """A site that sent six megabytes, and whose ledger has nine entries."""
    return SiteFacts(
        name=name,
        records=12345,
        epsilon_spent=spent,
        epsilon_allowed=None if left is None else 8.500008,
        epsilon_left=left,
        epsilon_declared=None if left is None else spent,
        delta=1e-5,
        noise_multiplier=0.714,
        sample_rate=0.0321,
        steps=48,
        bytes_up=6_200_000,
        bytes_down=6_400_000,
        ledger_head=LedgerFacts(number=9, digest=digest, public_key="9f" * 32),
    )


def a_round(number: int, *, fault: str | None = None) -> RoundEntry:
    """A round of two sites, of which south may fail."""
    north = SiteRound(site="north", fault=None, bytes_up=1, bytes_down=1)
    south = SiteRound(site="south", fault=fault, bytes_up=1, bytes_down=1)
    return RoundEntry(
        round=number,
        accepted=1 if fault else 2,
        seconds=31.4,
        adapter_sha256="ad" * 32,
        sites=(north, south),
    )


def a_privacy(**changes: object) -> PrivacyFacts:
    """Epsilon 8 for each patient."""
    fields: dict[str, object] = {
        "mode": "dp-sgd",
        "unit": "patient",
        "relation": "add-or-remove-one-unit",
        "accountant": "prv",
        "epsilon": 8.0,
        "delta": 1e-5,
        "clip_norm": 1.0,
        "clipping": "flat",
        "seeded": False,
    }
    return PrivacyFacts.model_validate(fields | changes)


def a_report(**changes: object) -> Report:
    """Two sites, two rounds, all arms; `changes` replace whole fields."""
    points = [(0, 0.5), (1, 0.66), (2, 0.75)]
    fields: dict[str, object] = {
        "fedloom": "0.1.0",
        "name": "wards",
        "plan_sha256": "ab" * 32,
        "adapter_sha256": "cd" * 32,
        "holdout": "test",
        "method": "ffa-lora",
        "weights": "uniform",
        "server_momentum": 0.0,
        "model": ModelFacts(
            name="mini",
            sha256="ef" * 32,
            start_sha256=None,
            lora_rank=8,
            lora_targets=(),
            trained_parameters=74114,
        ),
        "task": TaskFacts(kind="classification", labels=("negative", "positive")),
        "training": TrainingFacts(
            rounds=2,
            local_steps=24,
            head_rounds=0,
            head_local_steps=24,
            expected_batch_size=256,
            optimizer="adam",
            learning_rate=0.03,
            head_learning_rate=0.03,
            schedule="constant",
            warmup=0.0,
            precision="fp32",
        ),
        "privacy": a_privacy(),
        "sites": (a_site("north"), a_site("south")),
        "rounds": (a_round(1), a_round(2, fault="no reply in time")),
        "stops": (),
        "epsilon_by_round": {"north": (5.1, 7.9), "south": (5.3, 7.9)},
        "curve": tuple(
            CurvePoint(round=at, records=500, accuracy=value, loss=0.6) for at, value in points
        ),
        "evaluation": (
            an_arm("majority", "majority", 0.5),
            an_arm("federation", "federation", 0.75, epsilon=8.0),
            an_arm("non-private", "non-private", 0.823),
            an_arm("alone-north", "alone", 0.70, epsilon=8.0),
            an_arm("alone-south", "alone", 0.64, epsilon=8.0),
        ),
        "omitted": (),
        "timings": Timings(train=10, compare=20, evaluate=5, total=35),
    }
    return Report.model_validate(fields | changes)


def without_privacy() -> Report:
    """What a run with mode none leaves."""
    return a_report(
        privacy=a_privacy(mode="none", epsilon=None),
        sites=(a_site("north", spent=None, left=None),),
        epsilon_by_round={},
        evaluation=(an_arm("federation", "federation", 0.75),),
    )


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; complains about unbalanced tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.text += " " if tag in BLOCKS else ""
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data
