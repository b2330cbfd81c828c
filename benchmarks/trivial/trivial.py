"""A federation whose clients do nothing: what is left is the cost of simulating them."""

import time

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    """Answer with one number."""
    content = RecordDict({"reply": ConfigRecord({"node": context.node_id})})
    return Message(content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Ask every node once a round, from when all are there."""
    while len(nodes := list(grid.get_node_ids())) < int(context.run_config["sites"]):
        time.sleep(0.1)
    for number in range(int(context.run_config["rounds"])):
        content = ConfigRecord({"round": number})
        messages = [Message(RecordDict({"task": content}), node, "train") for node in nodes]
        replies = [reply for reply in grid.send_and_receive(messages) if not reply.has_error()]
        print(f"ROUND {number + 1}: {len(replies)} of {len(nodes)} replies", flush=True)
