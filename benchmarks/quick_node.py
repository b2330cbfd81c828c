"""`flower-supernode` with the pauses of FedLoom's deployment, and nothing else of it."""

from flwr.supernode.cli import flower_supernode

from fedloom.client.deploy.launch import NODE_LOOP, PAUSES
from fedloom.shared.flower_process import shorten_pauses

if __name__ == "__main__":
    shorten_pauses(PAUSES, NODE_LOOP)
    flower_supernode()
