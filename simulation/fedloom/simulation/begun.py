"""Runs beside another, in its folder: whether they have begun."""

import shutil

from fedloom.server.run.folder import RunFolder


def begun_beside(run: RunFolder) -> bool:
    """Whether the run has begun; what a crash left of one that had not is removed.

    Nothing was spent for it: its plan is written before any site is asked.
    """
    if run.plan.exists():
        return True
    if run.path.exists():
        shutil.rmtree(run.path)
    return False
