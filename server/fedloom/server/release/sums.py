"""`SHA256SUMS`, as `sha256sum --check` reads it: one line for each file, by name."""

import hashlib
import re
from collections.abc import Iterator, Mapping

from fedloom.shared.errors import ReleaseError
from fedloom.shared.words import count

SUMS, SUMS_SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
# A name alone, never a path.
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]{0,99})")


def write_sums(files: Mapping[str, bytes]) -> bytes:
    """The content of SHA256SUMS over files by name."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return "".join(lines).encode()


def read_sums(content: bytes) -> dict[str, str]:
    """Digests by name.

    Raises:
        ReleaseError: a line is none, names a path, or names a file twice.
    """
    sums: dict[str, str] = {}
    # Other characters that part lines are none to `sha256sum`.
    text = content.decode("ascii", "replace").removesuffix("\n")
    for number, line in enumerate(text.split("\n") if text else (), start=1):
        found = _LINE.fullmatch(line)
        if found is None or found[2] in sums:
            raise ReleaseError(
                f"{SUMS}, line {number}: expected a SHA-256 and the name of a file in this folder, "
                "each once"
            )
        sums[found[2]] = found[1]
    return sums


def sum_problems(sums: Mapping[str, str], files: Mapping[str, bytes]) -> Iterator[str]:
    """Each file that is missing or changed, in one line."""
    for name in sorted(sums):
        if name not in files:
            yield f"{name}: missing, expected the file that {SUMS} names"
        elif hashlib.sha256(files[name]).hexdigest() != sums[name]:
            size = count(len(files[name]), "byte")
            yield f"{name}: changed since it was signed ({size} now)"
