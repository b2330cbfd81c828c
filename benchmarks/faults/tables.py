"""The outcomes as a table, on the terminal and in docs/faults.md."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- table: make faults -->", "<!-- end of the table -->"
_HEAD = (
    "fault", "sites that counted, by round", "events of the run", "all count again after",
    "fault to end of run", "lost", "most charges for a round", "adapter as simulated",
)  # fmt: skip

Tree = Mapping[str, Any]


def keep(path: Path, trees: Iterable[Tree]) -> list[Tree]:
    """Put outcomes in place of older ones of the same faults; all that there are now."""
    known: dict[str, Tree] = {}
    if path.is_file():
        known = {str(tree["key"]): tree for tree in json.loads(path.read_text())}
    known |= {str(tree["key"]): tree for tree in trees}
    path.write_text(json.dumps(list(known.values()), indent=1) + "\n", encoding="utf-8")
    return list(known.values())


def markdown(trees: Iterable[Tree], order: Sequence[str]) -> str:
    """The table, in the order of `order`."""
    by_key = {str(tree["key"]): tree for tree in trees}
    rows = [_row(by_key[key]) for key in order if key in by_key]
    lines = [_HEAD, tuple("---" for _ in _HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_into(page: Path, table: str) -> None:
    """Between the page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _row(tree: Tree) -> tuple[str, ...]:
    found: Tree = tree["verdict"]
    return (
        str(tree["words"]),
        " ".join(map(str, found["accepted"])),
        _events(found["events"]),
        _seconds(tree["whole_again"]),
        _seconds(tree["to_end"]),
        _lost(tree, found),
        str(found["most_charges"]) + ("" if found["ledgers_verify"] else ", LEDGER NOT WHOLE"),
        {True: "yes", False: "NO", None: "not all counted"}[found["same_as_simulated"]],
    )


def _events(events: Sequence[str]) -> str:
    told = [event for event in events[1:] if not event.startswith("finished")]
    return "; ".join(event.replace("|", "/")[:110] for event in told) or "none"


def _lost(tree: Tree, found: Tree) -> str:
    lost = list(found["faults"])
    if found["state"] != "finished":
        lost.append(f"the run: {found['state']}")
    if tree["left_behind"]:
        lost.append(f"{tree['left_behind']} processes left behind")
    return "; ".join(lost) or "nothing"


def _seconds(value: object) -> str:
    return f"{value:.0f} s" if isinstance(value, float) else "never"
