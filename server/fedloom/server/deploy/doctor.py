"""`fedloom doctor` at the coordinator's."""

import shutil
from collections.abc import Iterator

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.wanted import runs_of
from fedloom.shared.doctor.certificates import certificate
from fedloom.shared.doctor.machine import disk, ports, private_files, versions
from fedloom.shared.doctor.reach import server
from fedloom.shared.doctor.symptom import Look, Symptom
from fedloom.shared.model.base import fingerprint


def server_looks(home: ServerHome) -> list[Look]:
    """What to look at for the server in `home`.

    Raises:
        ConfigError: it is no server's folder.
    """
    settings = home.settings()
    inner = {
        "superlink": settings.superlink_port,
        "its health": settings.health_port,
        "hub": settings.hub_port,
        "metrics": settings.metrics_port,
        "keeper's health": settings.keeper_health_port,
    }
    running = home.is_up
    secret = (
        home.coordinator_key,
        home.certificate_key,
        home.superexec_secret,
        home.control_token,
    )

    def certificates() -> Iterator[Symptom]:
        return certificate(
            home.certificate.read_bytes(), home.authority.read_bytes(), settings.host
        )

    def reach() -> Iterator[Symptom]:
        if not running:
            return iter([Symptom(text="not up; fedloom server up serves it")])
        return server(settings.public_address, home.authority.read_text())

    return [
        Look(topic="versions", find=versions),
        Look(topic="proxy", find=_nginx),
        Look(topic="keys", find=lambda: private_files(*secret)),
        Look(topic="certificate", find=certificates),
        Look(topic="sites", find=lambda: _sites(home)),
        Look(topic="ports", find=lambda: ports(inner, running=running)),
        Look(topic="public port", find=reach),
        Look(topic="disk", find=lambda: disk(home.runs, home.flower)),
        Look(topic="models", find=lambda: _models(home)),
    ]


def _nginx() -> Iterator[Symptom]:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        yield Symptom(text="no nginx", mend="install it, such as apt install nginx-light")
    else:
        yield Symptom(text=f"nginx at {found}")


def _sites(home: ServerHome) -> Iterator[Symptom]:
    names = sorted(home.sites())
    if names:
        yield Symptom(text=f"kits for {', '.join(names)}")
    else:
        yield Symptom(text="no site has a kit", mend="fedloom provision FEDERATION --site NAME")


def _models(home: ServerHome) -> Iterator[Symptom]:
    """Each run that goes on needs the very base model that it was planned with."""
    going = [(folder, run) for folder, run in runs_of(home) if run.state == "wanted"]
    for folder, run in going:
        wanted, found = folder.read_plan().model.sha256, fingerprint(run.model)
        same = wanted == found
        text = f"run {run.name}: {run.model}, sha256 {found[:12]}"
        mend = f"put the model back whose sha256 is {wanted[:12]}…"
        yield Symptom(text=text, mend=None if same else mend)
    if not going:
        yield Symptom(text="no run goes on")
