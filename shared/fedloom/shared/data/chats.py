"""Chats as records hold them: turns of a system, a user and an assistant."""

import json
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One thing said."""

    role: Role
    content: str


def parse_chat(value: object) -> tuple[Turn, ...] | None:
    """The turns of a chat: a list of objects with `role` and `content`, or JSON of one.

    None if it is no chat that an assistant answers at the end: at most one system turn at the
    beginning, then user and assistant in turn.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, list):
        return None
    turns = [_turn(item) for item in value]
    found = tuple(turn for turn in turns if turn is not None)
    return found if len(found) == len(turns) and _is_answered(found) else None


def _turn(item: object) -> Turn | None:
    if not isinstance(item, dict):
        return None
    role, content = item.get("role"), item.get("content")
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        return None
    return Turn(role=role, content=content)


def _is_answered(turns: tuple[Turn, ...]) -> bool:
    spoken = turns[1:] if turns and turns[0].role == "system" else turns
    expected = zip(spoken, cycle(("user", "assistant")), strict=False)
    return (
        bool(spoken)
        and spoken[-1].role == "assistant"
        and all(turn.role == role for turn, role in expected)
    )
