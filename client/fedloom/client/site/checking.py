"""`fedloom site check`: on one page, what is wrong with a site before anyone joins."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fedloom.client.site.checks.finding import Finding, Level, Look, Site
from fedloom.client.site.checks.machine import (
    look_at_address,
    look_at_device,
    look_at_disk,
    look_at_files,
)
from fedloom.client.site.checks.model import look_at_model
from fedloom.client.site.checks.policy import look_at_policy
from fedloom.client.site.checks.records import look_at_records
from fedloom.client.site.checks.state import (
    look_at_approvals,
    look_at_key,
    look_at_ledger,
    look_at_service,
    look_at_state,
)
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.policy.document import Policy, read_policy
from fedloom.shared.errors import ConfigError, FedLoomError
from fedloom.shared.words import count

_SETTINGS, _POLICY = "settings", "policy"
_LONGEST_LINE = 400
_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that is looked at."""

    topic: str
    look: Look

    def findings(self, site: Site) -> Iterator[Finding]:
        """What it finds; an error is a finding too, so that the checks after it still run."""
        try:
            for seen in self.look(site):
                yield Finding(topic=self.topic, level=seen.level, text=_one_line(seen.text))
        except ConfigError as error:
            yield from _problems(self.topic, error)
        except FedLoomError as error:
            yield _problem(self.topic, str(error))
        except OSError as error:
            yield _problem(self.topic, _of_system(error))


CHECKS: Sequence[Check] = (
    Check(topic="records", look=look_at_records),
    Check(topic="model", look=look_at_model),
    Check(topic=_POLICY, look=look_at_policy),
    Check(topic="approvals", look=look_at_approvals),
    Check(topic="state", look=look_at_state),
    Check(topic="key", look=look_at_key),
    Check(topic="ledger", look=look_at_ledger),
    Check(topic="service", look=look_at_service),
    Check(topic="address", look=look_at_address),
    Check(topic="disk", look=look_at_disk),
    Check(topic="device", look=look_at_device),
    Check(topic="files", look=look_at_files),
)


def check_site(settings: Path) -> list[Finding]:
    """Everything that is found at the site whose settings lie at `settings`.

    Guarantee: changes no setting, record, charge or permission; no finding holds a record's
    text, label or unit. Each check runs whatever the others find, as long as the settings can
    be read. Counts are exact: the findings are for the site alone.
    """
    config, found = _read(read_site_config, settings, _SETTINGS)
    if config is None:
        beside = settings.with_name("policy.toml")
        more = _read(read_policy, beside, _POLICY)[1] if beside.is_file() else []
        return [*found, *more, _note(_SETTINGS, "until it can be read, nothing else is looked at")]
    policy, more = _read(read_policy, config.policy, _POLICY)
    if policy is None:
        more.append(_note(_POLICY, "until it can be read, what follows is by the default policy"))
    site = Site(
        settings=settings,
        config=config,
        policy=policy or Policy.usual(),
        policy_is_read=policy is not None,
    )
    looked = [finding for check in CHECKS for finding in check.findings(site)]
    return [_read_well(config), *more, *looked]


def has_problem(findings: Sequence[Finding]) -> bool:
    """Whether something stands in the way of joining."""
    return any(finding.level == "problem" for finding in findings)


def page(settings: Path, findings: Sequence[Finding]) -> Iterator[str]:
    """The findings for people, one aligned line each."""
    yield f"{settings}"
    yield ""
    topic = ""
    for finding in findings:
        # A topic is named once, so that its lines stand together.
        named = finding.topic if finding.topic != topic else ""
        topic = finding.topic
        yield f"{named:<11}{finding.level:<9}{finding.text}"
    yield ""
    yield _verdict(findings)
    if any(finding.topic == "records" for finding in findings):
        yield "This page counts records exactly: it is for the site alone."


def _verdict(findings: Sequence[Finding]) -> str:
    def many(level: Level) -> int:
        return sum(finding.level == level for finding in findings)

    problems, warnings = count(many("problem"), "problem"), count(many("warning"), "warning")
    advice = "mend the problems first" if many("problem") else "the site can join"
    return f"{problems}, {warnings}: {advice}."


def _read_well(config: SiteConfig) -> Finding:
    return Finding(topic=_SETTINGS, level="good", text=f"read, of site {config.name}")


def _note(topic: str, text: str) -> Finding:
    return Finding(topic=topic, level="warning", text=text)


def _read(
    read: Callable[[Path], _Read], path: Path, topic: str
) -> tuple[_Read | None, list[Finding]]:
    try:
        return read(path), []
    except ConfigError as error:
        return None, list(_problems(topic, error))
    except OSError as error:
        return None, [_problem(topic, _of_system(error))]


def _problems(topic: str, error: ConfigError) -> Iterator[Finding]:
    return (_problem(topic, f"{error.source}: {problem}") for problem in error.problems)


def _problem(topic: str, text: str) -> Finding:
    return Finding(topic=topic, level="problem", text=_one_line(text))


def _of_system(error: OSError) -> str:
    return f"{error.filename or 'system'}: {error.strerror}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"
