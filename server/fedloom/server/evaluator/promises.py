"""Whether what a federation promises of its adapter can be measured by the suite it names."""

from collections.abc import Collection, Iterator

from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.config.release import ReleaseRule
from fedloom.shared.data.records import RECORD_UNIT
from fedloom.shared.errors import ConfigError
from fedloom.shared.words import nearest

# What `fedloom audit` finds joins the evaluation whatever the suite is.
_WITHOUT_SUITE = frozenset({"canaries"})


def check_promises(config: FederationConfig) -> None:
    """Refuse a wrong suite, and rules on figures of audits that are not in it.

    Raises:
        ConfigError: all that `promise_problems` names.
    """
    problems = promise_problems(config)
    if problems:
        raise ConfigError(f"federation {config.federation.name}", problems)


def promise_problems(config: FederationConfig) -> list[str]:
    """What is wrong with `evaluation.suite`, or else with what `release.rules` ask of it; one line
    each. Before training, since a rule that nothing can measure holds every adapter."""
    suite = config.evaluation.suite
    if suite is None:
        rules = config.release.rules
        asks = any(_audit(rule) not in _WITHOUT_SUITE for rule in rules)
        return ["release.rules need evaluation.suite, which measures their figures"] if asks else []
    # Audits bring libraries that take seconds: only who names a suite waits for them.
    from fedloom.server.evaluator.suite import read_suite

    try:
        found = read_suite(suite)
    except ConfigError as error:
        return [f"evaluation.suite {suite}: {problem}" for problem in error.problems]
    problems = list(_unmeasured(config.release.rules, found.audits))
    unit = config.privacy.unit
    if unit != RECORD_UNIT and found.records is not None and found.records.unit is None:
        # A patient's ten rows would count as ten patients', and make a group to be named.
        problems.append(
            f"evaluation.suite {suite}: records.unit is not said, expected the column that says "
            f'whose each record is, as privacy.unit {unit} does, or "{RECORD_UNIT}" on purpose'
        )
    return problems


def _unmeasured(rules: Collection[ReleaseRule], audits: Collection[str]) -> Iterator[str]:
    known = (*audits, *_WITHOUT_SUITE)
    for at, rule in enumerate(rules, start=1):
        audit = _audit(rule)
        if audit not in known:
            where = f"release.rules[{at}].figure"
            yield f"{where}: audit {audit} is not in the suite{nearest(audit, known)}"


def _audit(rule: ReleaseRule) -> str:
    return rule.figure.partition(".")[0]
