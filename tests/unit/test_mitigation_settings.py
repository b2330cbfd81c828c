"""`[mitigation]` as people write it, in the plan, for the steward and in the arm beside."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fedloom.cli.commands.plan import command as plan_command
from fedloom.client.ledger.spending import Spent
from fedloom.client.site.checks.records import rows_of
from fedloom.client.site.policy.document import Policy
from fedloom.client.site.reading import in_plain_words
from fedloom.shared.config.federation import read_federation
from fedloom.shared.config.mitigation import MitigationSection
from fedloom.shared.data.records import Record, RecordSource, read_records
from fedloom.shared.errors import ConfigError, DataError
from fedloom.shared.plan import Plan, differences
from fedloom.simulation.arms import arms_beside
from fedloom.simulation.prepare import Prepared, prepare
from tests.support.biased import biased_rows, write_biased_federation
from tests.support.plans import a_plan
from tests.support.sites import a_site_config
from tests.support.tiny import write_csv, write_federation

SWAPPING = 'counterfactuals = ["gender", "ethnicity"]'
WEIGHTED = 'group_column = "sex"\nweights = { f = 2, m = 0.5 }'
AUTOMATIC = 'noise_multiplier = 0.8\ndelta = 1e-4\nclipping = "automatic"'


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("most_copies = 2", "neither counterfactuals nor weights"),
        ('counterfactuals = ["age"]', "counterfactuals"),
        ('counterfactuals = ["gender", "gender"]', "listed twice"),
        ("weights = { f = 2.0 }", "1 weights with 0 of group_axis and group_column"),
        ('group_column = "sex"', "neither counterfactuals nor weights"),
        (f'{SWAPPING}\ngroup_column = "sex"', "0 weights with 1 of group_axis"),
        (f'{WEIGHTED}\ngroup_axis = "gender"', "2 weights with 2 of group_axis"),
        (
            'group_axis = "gender"\nweights = { women = 2.0 }',
            "no group women, expected one",
        ),
        ('group_column = "sex"\nweights = { f = 0.0 }', "weights"),
        ('group_column = "sex"\nweights = { f = 100.1 }', "weights"),
        ('group_column = "sex"\nweights = { f = nan }', "weights"),
        (f"{SWAPPING}\nmost_copies = 17", "most_copies"),
        (f"{SWAPPING}\ncopies = 2", "copies"),
    ],
)
@pytest.mark.parametrize("table", ["mitigation", "evaluation.mitigation"])
def test_what_contradicts_itself_is_refused_in_one_line(
    tmp_path: Path, table: str, written: str, words: str
) -> None:
    path = write_federation(tmp_path, more=f"[{table}]\n{written}\n")
    with pytest.raises(ConfigError, match=words) as caught:
        read_federation(path)
    assert len(caught.value.problems) == 1


def test_weights_that_clipping_would_take_away_are_refused(tmp_path: Path) -> None:
    path = write_federation(tmp_path, privacy=AUTOMATIC, more=f"[mitigation]\n{WEIGHTED}\n")
    with pytest.raises(ConfigError, match=r'contradicts privacy.clipping "automatic"'):
        read_federation(path)
    write_federation(tmp_path, privacy=AUTOMATIC, more=f"[mitigation]\n{SWAPPING}\n")
    assert read_federation(path).mitigation is not None


def test_federation_and_arm_weight_by_one_column(tmp_path: Path) -> None:
    other = WEIGHTED.replace("sex", "age")
    more = f"[mitigation]\n{WEIGHTED}\n[evaluation.mitigation]\n{other}\n"
    with pytest.raises(ConfigError, match="group_column is age and sex, expected one"):
        read_federation(write_federation(tmp_path, more=more))


def test_a_plan_without_mitigation_is_named_as_before_and_one_with_it_is_another() -> None:
    plain = a_plan()
    assert b"mitigation" not in plain.canonical()
    swapping = a_plan(mitigation=MitigationSection(counterfactuals=("gender",)))
    assert swapping.sha256 != plain.sha256
    assert differences(plain, swapping) == ["mitigation"]
    heavier = [
        a_plan(mitigation=MitigationSection(group_column="sex", weights={"f": weight}))
        for weight in (1.0, 2.0)
    ]
    assert heavier[0].sha256 != heavier[1].sha256
    for plan in (swapping, *heavier):
        assert Plan.from_canonical(plan.canonical(), sha256=plan.sha256) == plan
        assert Plan.from_toml(plan.to_toml()) == plan


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("federation")
    path = write_biased_federation(
        folder,
        rows=400,
        mitigation=f"{SWAPPING}\n{WEIGHTED}",
        privacy="epsilon = 8.0\ndelta = 1e-4\nnoise_seed = 7",
        rounds=2,
    )
    return prepare(read_federation(path))


def test_the_arm_differs_in_mitigation_alone_and_has_the_same_epsilon(prepared: Prepared) -> None:
    [arm] = arms_beside(prepared, "mitigated")
    assert differences(prepared.plan, arm.prepared.plan) == ["mitigation"]
    assert arm.prepared.plan.sites == prepared.plan.sites
    assert "gender and ethnicity swapped" in arm.description and "f 2, m 0.5" in arm.description


def test_without_a_mitigation_to_compare_there_is_no_arm(tmp_path: Path) -> None:
    plain = prepare(read_federation(write_federation(tmp_path)))
    assert not list(arms_beside(plain, "mitigated"))


def test_what_a_plan_would_do_names_the_mitigation(tmp_path: Path) -> None:
    path = write_federation(tmp_path, more=f"[mitigation]\n{SWAPPING}\n")
    said = CliRunner().invoke(plan_command, [str(path)], catch_exceptions=False).output
    assert "gender and ethnicity swapped" in said


def test_the_steward_reads_what_is_done_to_a_record(tmp_path: Path) -> None:
    config = a_site_config(tmp_path, declared_units=1000)
    asked = MitigationSection(counterfactuals=("gender",), group_column="sex", weights={"f": 2.0})
    spent = Spent(
        history=(), rounds=0, steps=0, units=frozenset(), without_privacy=False, seeded=False
    )
    said = list(in_plain_words(a_plan(mitigation=asked), config, Policy.usual(), spent))
    lines = [line for line in said if line.startswith("loss")]
    assert len(lines) == 2
    assert "at most 4 copies, gender swapped" in lines[0]
    assert "times a weight by sex: f 2" in lines[1]


def test_a_group_is_read_from_its_column_and_may_be_missing(tmp_path: Path) -> None:
    rows = biased_rows(3, seed=0, bias=0.5)
    rows[1]["sex"] = ""
    source = RecordSource(
        path=write_csv(tmp_path / "r.csv", rows), text="text", label="label", group="sex"
    )
    found = read_records(source, labels=("negative", "positive"))
    assert [record.group for record in found] == [row["sex"] for row in rows]
    lines = '{"text": "a", "label": "x", "sex": null}\n{"text": "b", "label": "x"}\n'
    (tmp_path / "r.jsonl").write_text(lines)
    source = RecordSource(path=tmp_path / "r.jsonl", text="text", label="label", group="sex")
    assert [each.group for each in read_records(source, labels=("x",))] == ["", ""]


def test_a_site_whose_group_column_is_not_there_hears_of_it(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", [{"text": "a", "label": "x"}])
    source = RecordSource(path=path, text="text", label="label", group="sex")
    with pytest.raises(DataError, match="no column sex"):
        rows_of(source, labels=("x",))
    assert all(isinstance(row, Record) for row in rows_of(
        RecordSource(path=path, text="text", label="label"), labels=("x",)
    ))  # fmt: skip
