"""What an adapter folder says of itself, beside PEFT's own files."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fedloom.shared.config.problems import explain
from fedloom.shared.config.sections import Quantization, TaskSection
from fedloom.shared.config.values import Section
from fedloom.shared.errors import ModelError
from fedloom.shared.files import write_durably
from fedloom.shared.model.usage import how_to_use
from fedloom.shared.plan import Plan

_NAME = "fedloom.json"


class AdapterCard(Section):
    """`fedloom.json`: how to use the adapter, and which plan and privacy it came from."""

    format: Literal[1] = 1
    plan_sha256: str
    model_name: str
    model_sha256: str
    max_length: Annotated[int, Field(ge=2)]
    quantization: Quantization = "none"
    task: TaskSection
    privacy: str

    @classmethod
    def of(cls, plan: Plan) -> "AdapterCard":
        """The card of an adapter that `plan` made."""
        return cls(
            plan_sha256=plan.sha256,
            model_name=plan.model.name,
            model_sha256=plan.model.sha256,
            max_length=plan.model.max_length,
            quantization=plan.model.quantization,
            task=plan.task,
            privacy=privacy_in_words(plan),
        )

    def write(self, folder: Path) -> None:
        """Write the card, and a README in place of PEFT's empty one."""
        write_durably(folder / _NAME, self.model_dump_json(indent=2).encode())
        write_durably(folder / "README.md", self._readme().encode())

    @classmethod
    def read(cls, folder: Path) -> "AdapterCard":
        """The card of an adapter folder.

        Raises:
            ModelError: there is none, or it is damaged.
        """
        path = folder / _NAME
        if not path.is_file():
            raise ModelError(f"adapter {folder}: no {_NAME}, expected the adapter folder of a run")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ModelError(f"{path}: {explain(error, cls)[0]}") from error

    def _readme(self) -> str:
        known = hub_id(self.model_name)
        front = f"base_model: {known}\n" if known else ""
        return (
            f"---\nlibrary_name: peft\n{front}---\n\n# LoRA adapter by FedLoom\n\n"
            f"- plan: `{self.plan_sha256}`\n"
            f"- base model: {base_in_words(self.model_name, self.model_sha256)}\n"
            f"- task: {self.task.kind}, labels {', '.join(self.task.labels) or 'none, free text'}\n"
            f"- privacy: {self.privacy}\n\n"
            f"{how_to_use(self.task, self.quantization)}"
        )


def has_card(folder: Path) -> bool:
    """Whether an adapter folder was made by FedLoom."""
    return (folder / _NAME).is_file()


def hub_id(name: str) -> str | None:
    """The base model's id on the Hugging Face hub, None of one that was a folder: by a name
    without its owner, the hub would find another model or none."""
    return name if "/" in name else None


def base_in_words(name: str, sha256: str) -> str:
    """Which base model it must be, for whoever wants to load the adapter."""
    where = "of the Hugging Face hub" if hub_id(name) else "as its folder was called"
    return f"{name} ({where}); its files have the SHA-256 fingerprint `{sha256}`"


def privacy_in_words(plan: Plan) -> str:
    """One line for people: what the plan promises to whom."""
    privacy = plan.privacy
    if not privacy.private:
        return "none; trained without differential privacy"
    epsilon = max(site.epsilon or 0.0 for site in plan.sites)
    promise = (
        f"epsilon {epsilon:.3g}, delta {privacy.delta:g} at every site for each {privacy.unit}, "
        f"{privacy.relation}, accountant {privacy.accountant}"
    )
    return f"SEEDED, NOT PRIVATE ({promise} if it were not)" if privacy.seeded else promise
