"""What a look at a site gives, and what is looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedloom.client.site.config import SiteConfig
from fedloom.client.site.policy.document import Policy

Level = Literal["good", "warning", "problem"]
_OTHERS_WRITE, _GROUP_WRITES = 0o002, 0o020


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the page: what it is about, how bad it is, and what to do. No record's text."""

    topic: str
    level: Level
    text: str


@dataclass(frozen=True, kw_only=True)
class Site:
    """A site's two files as they were read; the defaults for a policy that cannot be."""

    settings: Path
    config: SiteConfig
    policy: Policy
    policy_is_read: bool = True


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A finding before it has its topic."""

    level: Level
    text: str


Look = Callable[[Site], Iterator[Seen]]


def good(text: str) -> Seen:
    """As it should be."""
    return Seen(level="good", text=text)


def warning(text: str) -> Seen:
    """The site can join, but a person should know."""
    return Seen(level="warning", text=text)


def problem(text: str) -> Seen:
    """The site cannot join like this, or should not."""
    return Seen(level="problem", text=text)


def mode_of(path: Path) -> int:
    """A file's permissions."""
    return path.stat().st_mode & 0o777


def written_by_others(path: Path, what: str) -> Iterator[Seen]:
    """Whether anybody but the owner may write there; a group may be meant, all users never are."""
    mode = mode_of(path)
    if mode & _OTHERS_WRITE:
        yield problem(f"{path}: mode {mode:o} lets every user of this machine {what}")
    elif mode & _GROUP_WRITES:
        yield warning(f"{path}: mode {mode:o} lets its group {what}")
