"""What a look finds: well or not, and how to mend it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fedloom.shared.errors import FedLoomError
from fedloom.shared.words import count

_TOPIC_WIDTH = 13


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """One line. `mend` says what to do about it; None where all is well."""

    text: str
    mend: str | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """One thing that is looked at; an error that it meets is a symptom too."""

    topic: str
    find: Callable[[], Iterator[Symptom]]

    def symptoms(self) -> Iterator[Symptom]:
        """What it finds."""
        try:
            yield from self.find()
        except FedLoomError as error:
            yield Symptom(text=" ".join(str(error).split()), mend="as it says")
        except OSError as error:
            yield Symptom(
                text=f"{error.filename or 'system'}: {error.strerror or type(error).__name__}",
                mend="give this user what it needs there",
            )


def page(looks: Sequence[Look]) -> tuple[list[str], int]:
    """All looks as aligned lines, and how many things want mending."""
    lines: list[str] = []
    ill = 0
    for look in looks:
        named = look.topic
        for symptom in look.symptoms():
            mark = "ok  " if symptom.mend is None else "MEND"
            lines.append(f"{named:<{_TOPIC_WIDTH}}{mark} {symptom.text}")
            if symptom.mend is not None:
                ill += 1
                lines.append(f"{'':<{_TOPIC_WIDTH}}     -> {symptom.mend}")
            named = ""
    lines.append(f"{count(ill, 'thing')} to mend" if ill else "all is well")
    return lines, ill
