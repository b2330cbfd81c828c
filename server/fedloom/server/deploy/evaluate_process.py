"""`python -m fedloom.server.deploy.evaluate_process RUN [ROUND]`: a wanted run's suite, once."""

import sys
from pathlib import Path

from fedloom.server.deploy.wanted import read_wanted
from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.evaluator.corpus import Benchmarks, Corpus
from fedloom.server.evaluator.kept_suite import check_records, read_kept
from fedloom.server.evaluator.of_run import RunEvaluator
from fedloom.server.evaluator.records import read_corpus
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import ConfigError, FedLoomError
from fedloom.shared.quiet import quiet_libraries


def main(run: str, number: str = "") -> int:
    """Evaluate the adapter after a round, or the final one; 1 and one line if it cannot be done."""
    quiet_libraries()
    folder = RunFolder(Path(run))
    try:
        evaluator = _evaluator(folder, read_wanted(folder).model)
        if number:
            evaluator.after_round(int(number))
        else:
            evaluator.at_end()
    except FedLoomError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _evaluator(folder: RunFolder, model: Path) -> RunEvaluator:
    suite, plan = read_kept(folder), folder.read_plan()
    if suite is None:
        raise ConfigError(str(folder.suite), ["no such file, expected the suite of the run"])
    # What is not in the cache stays away: nothing is fetched while a server serves.
    benchmarks = Benchmarks(offline=True)
    corpus = (
        Corpus(tests={}, benchmarks=benchmarks)
        if suite.records is None
        else read_corpus(suite.records, labels=plan.task.labels, benchmarks=benchmarks)
    )
    # After they were read: what is measured is what was checked.
    check_records(folder)
    return RunEvaluator(
        folder=folder,
        plan=plan,
        bench=plan_bench(plan, model, batch_size=suite.batch_size),
        suite=suite,
        corpus=corpus,
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
