"""The `fedloom` command in this process: the same entry point, without loading libraries anew."""

import io
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from fedloom.cli.main import main


@dataclass(frozen=True, kw_only=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def fedloom(*arguments: object, cwd: Path) -> Done:
    """What the command says in a folder, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    argv = mock.patch.object(sys, "argv", ["fedloom", *map(str, arguments)])
    code: object = None
    with argv, chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Done(returncode=int(str(code or 0)), stdout=out.getvalue(), stderr=err.getvalue())
