"""Federated LoRA by Flower and PEFT alone, as tutorials do it: each message loads the model.

With `steps = 0` clients load nothing and send back what came, so that only the transport is
left; `flat` then sends one array and a manifest in place of one array for each tensor.
"""

import json
import random
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.superlink.grid import http_grid

LABELS = ("negative", "positive")
client = ClientApp()
server = ServerApp()


def tuned(config: Any) -> Any:
    """The base model with a fresh adapter and head."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_pretrained(config["model"], num_labels=2)
    targets = str(config["targets"]).split(",")
    lora = LoraConfig(r=int(config["rank"]), target_modules=targets, task_type="SEQ_CLS")
    return get_peft_model(base, lora)


@client.train()
def train(message: Message, context: Context) -> Message:
    """Train what came for some steps, and send all of it back."""
    arrays, seconds = message.content.array_records["arrays"], 0.0
    if int(context.run_config["steps"]):
        arrays, seconds = trained(arrays, context)
    else:
        # Each tensor other than it came, than its like and than the other site's: Flower sends
        # no object twice.
        draw = np.random.default_rng()
        arrays = ArrayRecord(
            {name: Array(at.numpy() + np.float32(draw.random())) for name, at in arrays.items()}
        )
    metrics = MetricRecord({"num-examples": 1, "train-seconds": seconds})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def trained(arrays: ArrayRecord, context: Context) -> tuple[ArrayRecord, float]:
    """The arrays after training, and the seconds of its steps alone."""
    import torch
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from transformers import AutoTokenizer

    config, model = context.run_config, tuned(context.run_config)
    set_peft_model_state_dict(model, arrays.to_torch_state_dict())
    tokenizer = AutoTokenizer.from_pretrained(config["model"])
    lines = Path(str(context.node_config["records"])).read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    live = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(live, lr=0.1)
    began = time.perf_counter()
    for _ in range(int(config["steps"])):
        batch = random.sample(records, int(config["batch"]))
        limits = {"padding": True, "truncation": True, "max_length": int(config["tokens"])}
        inputs = tokenizer([row["text"] for row in batch], return_tensors="pt", **limits)
        labels = torch.tensor([LABELS.index(row["label"]) for row in batch])
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - began
    return ArrayRecord(get_peft_model_state_dict(model)), seconds


class Noting(FedAvg):
    """Flower's own strategy, with a line in the journal when a round is over."""

    def __init__(self, journal: Path) -> None:
        super().__init__(fraction_evaluate=0.0)
        self._journal = journal

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As ever."""
        whole = [reply for reply in replies if reply.has_content()]
        seconds = [reply.content["metrics"]["train-seconds"] for reply in whole]
        found = super().aggregate_train(server_round, whole)
        line = json.dumps({"round": server_round, "train": seconds})
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return found


@server.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds, from a fresh adapter."""
    from peft import get_peft_model_state_dict

    config = context.run_config
    # Flower's own pause between looks for replies; it has no setting for it.
    http_grid.time = SimpleNamespace(
        time=time.time, sleep=lambda wanted: time.sleep(min(wanted, float(config["poll"])))
    )
    state = get_peft_model_state_dict(tuned(config))
    arrays, about = ArrayRecord(state), ConfigRecord()
    if config["flat"]:
        manifest = json.dumps([[name, list(values.shape)] for name, values in state.items()])
        joined = np.concatenate([values.numpy().ravel() for values in state.values()])
        arrays, about = ArrayRecord({"flat": Array(joined)}), ConfigRecord({"manifest": manifest})
    strategy = Noting(Path(str(config["journal"])))
    strategy.start(grid, arrays, num_rounds=int(config["rounds"]), train_config=about)
