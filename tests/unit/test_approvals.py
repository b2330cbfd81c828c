"""Plans that wait for a steward, and what a signed approval is good for."""

import json
import stat
from pathlib import Path

import pytest

from fedloom.client.site.approvals import Approvals
from fedloom.client.site.signed import Approval
from fedloom.shared.errors import LedgerError, PlanError, SiteRefusal
from fedloom.shared.keys import SigningKey
from tests.support.plans import a_plan


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    return Approvals(tmp_path / "approvals", "north")


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


def refused(approvals: Approvals, key: SigningKey, **changes: object) -> str:
    with pytest.raises(SiteRefusal) as caught:
        approvals.check(a_plan(**changes), key.public)
    return caught.value.rule


def test_a_plan_waits_until_it_is_signed_for(approvals: Approvals, key: SigningKey) -> None:
    assert refused(approvals, key) == "approval"
    assert refused(approvals, key) == "approval"
    assert approvals.waiting() == [a_plan()]
    approvals.approve(a_plan(), key)
    approvals.check(a_plan(), key.public)
    assert approvals.waiting() == []


def test_an_approval_is_for_one_plan_alone(approvals: Approvals, key: SigningKey) -> None:
    approvals.approve(a_plan(), key)
    assert refused(approvals, key, name="other") == "approval"


def test_a_plan_that_was_approved_before_it_came_does_not_wait(
    approvals: Approvals, key: SigningKey
) -> None:
    approvals.approve(a_plan(), key)
    approvals.check(a_plan(), key.public)


def _another_key(found: dict[str, object]) -> None:
    approval = found["approval"]
    stranger = SigningKey.generate()
    found["signature"] = stranger.sign(Approval.model_validate(approval).digest)


def _unsigned_site(found: dict[str, object]) -> None:
    found["approval"] = {**found["approval"], "site": "south"}  # type: ignore[dict-item]


def _later(found: dict[str, object]) -> None:
    found["approval"] = {**found["approval"], "at": "2031-01-01T00:00:00Z"}  # type: ignore[dict-item]


def _more(found: dict[str, object]) -> None:
    found["note"] = "x"


@pytest.mark.parametrize("change", [_another_key, _unsigned_site, _later, _more])
def test_an_approval_that_is_not_the_sites_own_stops_it(
    approvals: Approvals, key: SigningKey, tmp_path: Path, change: object
) -> None:
    approvals.approve(a_plan(), key)
    (path,) = (tmp_path / "approvals").glob("*.approval")
    found = json.loads(path.read_bytes())
    change(found)  # type: ignore[operator]
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(LedgerError, match="approval"):
        approvals.check(a_plan(), key.public)


def test_an_approval_that_the_key_signed_for_another_site_stops_it(
    approvals: Approvals, key: SigningKey, tmp_path: Path
) -> None:
    """One institution with two sites under one key."""
    Approvals(tmp_path / "approvals", "south").approve(a_plan(), key)
    with pytest.raises(LedgerError, match="for this plan"):
        approvals.check(a_plan(), key.public)


def test_an_approval_moved_to_another_plan_stops_the_site(
    approvals: Approvals, key: SigningKey, tmp_path: Path
) -> None:
    approvals.approve(a_plan(), key)
    (path,) = (tmp_path / "approvals").glob("*.approval")
    other = a_plan(name="other")
    path.rename(path.with_name(f"{other.sha256}.approval"))
    with pytest.raises(LedgerError, match="for this plan"):
        approvals.check(other, key.public)


def test_a_flood_of_plans_does_not_fill_the_disk(
    approvals: Approvals, key: SigningKey, tmp_path: Path
) -> None:
    for number in range(40):
        assert refused(approvals, key, name=f"p{number}") == "approval"
    assert len(approvals.waiting()) == 32
    names = tuple(f"t{number:05}" + "x" * 100 for number in range(20_000))
    huge = a_plan().lora.model_copy(update={"targets": names})
    for path in (tmp_path / "approvals").iterdir():
        path.unlink()
    assert refused(approvals, key, lora=huge) == "approval"
    assert approvals.waiting() == []


def test_a_flood_does_not_drive_out_the_plan_that_a_steward_reads(
    approvals: Approvals, key: SigningKey
) -> None:
    """The newest is turned away, and the site's own log says why, until there is room again."""
    for number in range(32):
        refused(approvals, key, name=f"p{number}")
    with pytest.raises(SiteRefusal, match="none but those that wait"):
        approvals.check(a_plan(name="late"), key.public)
    assert a_plan(name="p0") in approvals.waiting()
    with pytest.raises(SiteRefusal, match="signed for"):
        approvals.check(a_plan(name="p0"), key.public)
    approvals.withdraw(a_plan(name="p1").sha256)
    with pytest.raises(SiteRefusal, match="signed for"):
        approvals.check(a_plan(name="late"), key.public)


def test_a_withdrawn_approval_counts_no_more_and_is_written_down(
    approvals: Approvals, key: SigningKey, tmp_path: Path
) -> None:
    refused(approvals, key)
    approvals.approve(a_plan(), key)
    assert approvals.withdraw(a_plan().sha256[:8]) == a_plan().sha256
    assert refused(approvals, key) == "approval"
    assert approvals.waiting() == [a_plan()] and not list(approvals.approved(key.public))
    approvals.withdraw(a_plan().sha256)
    assert approvals.waiting() == []
    with pytest.raises(PlanError, match="none waiting or approved"):
        approvals.withdraw(a_plan().sha256)
    log = (tmp_path / "approvals" / "decisions.jsonl").read_text().splitlines()
    decisions = [json.loads(line) for line in log]
    assert [each["event"] for each in decisions] == ["approved", "withdrawn", "withdrawn"]
    assert {each["plan"] for each in decisions} == {a_plan().sha256}


def test_a_decision_is_on_disk_before_it_holds(
    approvals: Approvals, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a log that cannot be written nothing is signed, and nothing is withdrawn."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("fedloom.client.site.signed.append_durably", full)
        with pytest.raises(OSError, match="No space"):
            approvals.approve(a_plan(), key)
    assert refused(approvals, key) == "approval"
    approvals.approve(a_plan(), key)
    with monkeypatch.context() as patched:
        patched.setattr("fedloom.client.site.signed.append_durably", full)
        with pytest.raises(OSError, match="No space"):
            approvals.withdraw(a_plan().sha256)
    approvals.check(a_plan(), key.public)


def test_what_was_removed_stays_removed_after_a_crash(
    approvals: Approvals, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is synced once the file is gone; without, the approval could come back."""
    approvals.approve(a_plan(), key)
    seen: list[bool] = []

    def spy(folder: Path) -> None:
        seen.append(any(folder.glob("*.approval")))

    monkeypatch.setattr("fedloom.shared.files.sync_folder", spy)
    approvals.withdraw(a_plan().sha256)
    assert seen[-1:] == [False]


def test_what_cannot_be_read_can_be_withdrawn(
    approvals: Approvals, key: SigningKey, tmp_path: Path
) -> None:
    refused(approvals, key)
    (waiting,) = (tmp_path / "approvals").glob("*.plan")
    waiting.write_bytes(b"{}")
    with pytest.raises(PlanError):
        approvals.waiting()
    approvals.withdraw(a_plan().sha256[:12])
    assert approvals.waiting() == []
    approvals.approve(a_plan(), key)
    (signed,) = (tmp_path / "approvals").glob("*.approval")
    signed.write_bytes(b"{}")
    assert "damaged" in str(next(iter(approvals.approved(key.public))))
    with pytest.raises(LedgerError, match="damaged"):
        approvals.approve(a_plan(), key)
    approvals.withdraw(a_plan().sha256[:12])
    assert not list(approvals.approved(key.public))


def test_what_is_approved_is_not_signed_again(
    approvals: Approvals, key: SigningKey, tmp_path: Path
) -> None:
    approvals.approve(a_plan(), key)
    (path,) = (tmp_path / "approvals").glob("*.approval")
    state = path.stat()
    approvals.approve(a_plan(), key)
    assert path.stat().st_ino == state.st_ino and path.stat().st_mtime_ns == state.st_mtime_ns
    log = (tmp_path / "approvals" / "decisions.jsonl").read_text()
    assert log.count("approved") == 1


def test_plans_are_found_by_the_beginning_of_their_name(
    approvals: Approvals, key: SigningKey
) -> None:
    plans = [a_plan(), a_plan(name="other")]
    for plan in plans:
        refused(approvals, key, name=plan.name)
    assert approvals.find(plans[1].sha256[:10]) == plans[1]
    for start in ("", "zz"):
        with pytest.raises(PlanError, match="waiting, expected one"):
            approvals.find(start)


def test_what_waits_and_what_was_signed_is_the_owners_alone(
    approvals: Approvals, key: SigningKey, tmp_path: Path
) -> None:
    refused(approvals, key, name="other")
    approvals.approve(a_plan(), key)
    folder = tmp_path / "approvals"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
