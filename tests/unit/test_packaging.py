"""What an installed FedLoom must hold, and what its documents must say."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pydantic import BaseModel

from fedloom.client.site.config import SiteConfig
from fedloom.client.site.policy.document import Policy
from fedloom.shared.config.federation import FederationConfig, read_federation
from tests.support.tiny import write_tiny_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return next(target.glob("*.whl"))


DATA = {".toml", ".txt", ".j2", ".css"}


def test_the_wheel_holds_all_parts_and_their_data(wheel: Path, tmp_path: Path) -> None:
    """Catches a folder or data file that only the editable install finds."""
    with zipfile.ZipFile(wheel) as package:
        package.extractall(tmp_path)
    assert not (tmp_path / "fedloom" / "__init__.py").exists(), "fedloom is a namespace"
    for part in ("shared", "client", "server", "simulation", "cli"):
        for path in (ROOT / part / "fedloom").rglob("*"):
            if path.suffix in DATA:
                assert (tmp_path / path.relative_to(ROOT / part)).is_file(), path
    program = f"""
import fedloom.shared.plan, fedloom.client.app, fedloom.server.app
import fedloom.simulation.study, fedloom.cli.main
assert fedloom.shared.plan.__file__.startswith({str(tmp_path)!r})
from fedloom.shared.assets.cache import pinned_assets
assert pinned_assets()
"""
    # -S -I keeps the editable install's path hooks out; the packages are named by hand.
    packages = str(Path(pytest.__file__).parents[1])
    setup = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {packages!r}]\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", setup + program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _keys(model: type[BaseModel]) -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        found.add(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= _keys(part)
    return found


@pytest.mark.parametrize(
    ("model", "page"),
    [(FederationConfig, "configuration.md"), (SiteConfig, "site.md"), (Policy, "site.md")],
)
def test_every_key_of_a_file_is_documented(model: type[BaseModel], page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    sections = {name for name in model.model_fields if re.search(rf"`{name}\.", text)}
    missing = [key for key in _keys(model) - sections if not re.search(rf"[`.\[]{key}[`\]]", text)]
    assert missing == []


def test_the_readmes_smallest_federation_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    (tmp_path / "federation.toml").write_text(block.group(1), encoding="utf-8")
    write_tiny_model(tmp_path / "model")
    assert read_federation(tmp_path / "federation.toml").federation.name == "ours"


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
