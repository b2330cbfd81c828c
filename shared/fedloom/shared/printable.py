"""A peer's words among our own: nothing in them may end a line or move a terminal's cursor."""

_MOST = 300


def printable(text: object) -> str:
    """`text` with every character that is not printed replaced, and cut where it is long."""
    shown = "".join(each if each.isprintable() else "?" for each in str(text)[: _MOST + 1])
    return shown if len(shown) <= _MOST else f"{shown[:_MOST]}…"
