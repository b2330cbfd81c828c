"""Plans, adapters and tasks as values, without a model: for tests that train nothing."""

import numpy as np

from fedloom.shared.adapter import Adapter
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.config.training import TrainingSection
from fedloom.shared.plan import AggregationPlan, ModelPlan, Plan, RoundsPlan, SitePlan
from fedloom.shared.wire.messages import TrainTask

UNITS, BATCH, STEPS, ROUNDS = 1000, 50, 2, 3


def a_site(name: str = "north", **changes: object) -> SitePlan:
    """A site of 1,000 units whose numbers fit `a_plan`."""
    fields: dict[str, object] = {
        "name": name,
        "declared_units": UNITS,
        "sample_rate": BATCH / UNITS,
        "noise_multiplier": 1.0,
        "steps": STEPS * ROUNDS,
        "epsilon": 1.0,
    }
    return SitePlan.model_validate(fields | changes)


def a_training(**changes: object) -> TrainingSection:
    """What a site does in one round, with nothing left to decide."""
    fields: dict[str, object] = {
        "local_steps": STEPS,
        "expected_batch_size": BATCH,
        "precision": "fp32",
    }
    return TrainingSection.model_validate(fields | changes)


def a_plan(**changes: object) -> Plan:
    """A private, unseeded plan of two sites; `changes` replace whole fields."""
    fields: dict[str, object] = {
        "name": "tiny",
        "model": ModelPlan(name="base", sha256="ab" * 32, max_length=64),
        "task": TaskSection(labels=("negative", "positive")),
        "lora": LoraSection(),
        "privacy": PrivacyTerms(noise_multiplier=1.0, delta=1e-5),
        "training": a_training(),
        "aggregation": AggregationPlan(method="ffa-lora", weights="uniform", max_update_norm=100.0),
        "rounds": RoundsPlan(total=ROUNDS, quorum=1, deadline_seconds=60.0),
        "sites": (a_site("north"), a_site("south")),
    }
    return Plan.model_validate(fields | changes)


def an_adapter(seed: int = 0) -> Adapter:
    """Twenty random numbers under names as PEFT gives them."""
    generator = np.random.default_rng(seed)
    shapes = {"l.lora_A.weight": (2, 3), "l.lora_B.weight": (4, 2), "classifier.weight": (2, 3)}
    state = {name: generator.normal(size=at).astype(np.float32) for name, at in shapes.items()}
    return Adapter.from_state(state)


def a_task(*, plan: Plan | None = None, round_number: int = 1, seed: int = 0) -> TrainTask:
    """A task for site north."""
    return TrainTask(
        plan=plan or a_plan(), site="north", round=round_number, adapter=an_adapter(seed)
    )
