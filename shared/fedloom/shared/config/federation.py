"""`federation.toml` as a value, and the reading of it."""

from pathlib import Path

from pydantic import model_validator

from fedloom.shared.config.data import DataSection, EvaluationSection
from fedloom.shared.config.mitigation import MitigationSection
from fedloom.shared.config.privacy import MetricsSection, PrivacySection
from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.config.sections import (
    AggregationSection,
    FederationSection,
    LoraRequest,
    ModelSection,
    RoundsSection,
    TaskSection,
)
from fedloom.shared.config.training import TrainingSection
from fedloom.shared.config.values import Section
from fedloom.shared.files import is_folder
from fedloom.shared.words import count


class EvaluationRequest(EvaluationSection):
    """`[evaluation]` as people ask for it: `mitigation` is that of the comparison's arm
    `mitigated`, which is otherwise the same federation."""

    mitigation: MitigationSection | None = None


class FederationConfig(Section):
    """One federation: the same file serves simulation and deployment."""

    federation: FederationSection
    model: ModelSection
    task: TaskSection
    lora: LoraRequest = LoraRequest()
    data: DataSection
    privacy: PrivacySection
    training: TrainingSection = TrainingSection()
    aggregation: AggregationSection = AggregationSection()
    rounds: RoundsSection = RoundsSection()
    metrics: MetricsSection = MetricsSection()
    mitigation: MitigationSection | None = None
    evaluation: EvaluationRequest = EvaluationRequest()
    release: ReleaseSection = ReleaseSection()

    @model_validator(mode="after")
    def _chats_are_answered(self) -> "FederationConfig":
        if self.data.messages is not None and self.task.kind == "classification":
            raise ValueError(
                'data.messages contradicts task.kind "classification", expected data.text and '
                "data.label, or a task that answers"
            )
        return self

    @model_validator(mode="after")
    def _quantization_fits_task(self) -> "FederationConfig":
        self.task.check_quantization(self.model.quantization)
        return self

    @model_validator(mode="after")
    def _head_rounds_within_rounds(self) -> "FederationConfig":
        self.training.check_rounds(self.rounds.total)
        return self

    @model_validator(mode="after")
    def _metrics_are_covered(self) -> "FederationConfig":
        self.metrics.check_covered(private=self.privacy.private, rounds=self.rounds.total)
        return self

    @model_validator(mode="after")
    def _mitigations_take_effect(self) -> "FederationConfig":
        asked = [each for each in (self.mitigation, self.evaluation.mitigation) if each]
        for each in asked:
            each.check_clipping(self.privacy.clipping, private=self.privacy.private)
        columns = sorted({each.group_column for each in asked if each.group_column})
        if len(columns) > 1:
            raise ValueError(f"group_column is {' and '.join(columns)}, expected one at all sites")
        return self

    @model_validator(mode="after")
    def _quorum_within_sites(self) -> "FederationConfig":
        quorum = self.rounds.quorum
        if quorum is not None and quorum > len(self.data.sites):
            sites = count(len(self.data.sites), "site")
            raise ValueError(f"rounds.quorum is {quorum}, expected at most the {sites}")
        return self


def read_federation(path: Path) -> FederationConfig:
    """Read and check a federation file; relative paths are taken from the file's folder.

    Raises:
        ConfigError: the file is missing, is no TOML, or has problems; all are named at once.
    """
    config = read_toml(path, FederationConfig, expected="a federation.toml")
    return _anchored(config, path.resolve().parent)


def missing_files(config: FederationConfig) -> list[str]:
    """What the config names and this machine does not have; a hub id may yet be fetched.

    Where each site declares its size, the records are the sites' own, and none is missed here.
    """
    absent = [
        f"data.sites {site.name}: no file {site.path}"
        for site in config.data.sites
        if config.data.undeclared and not site.path.is_file()
    ]
    start = config.lora.start
    if start is not None and not is_folder(start):
        absent.insert(0, f"lora.start: no folder {start}")
    model = config.model.path
    if not is_folder(Path(model)) and model.startswith((".", "/", "~")):
        absent.insert(0, f"model.path: no folder {model}")
    return absent


def _anchored(config: FederationConfig, folder: Path) -> FederationConfig:
    sites = tuple(
        site.model_copy(update={"path": folder / site.path}) for site in config.data.sites
    )
    model = config.model
    if is_folder(folder / model.path):
        model = model.model_copy(update={"path": str(folder / model.path)})
    data = config.data.model_copy(update={"sites": sites})
    lora = config.lora
    if lora.start is not None:
        lora = lora.model_copy(update={"start": folder / lora.start})
    evaluation = config.evaluation
    if evaluation.suite is not None:
        evaluation = evaluation.model_copy(update={"suite": folder / evaluation.suite})
    return config.model_copy(
        update={"data": data, "model": model, "lora": lora, "evaluation": evaluation}
    )
