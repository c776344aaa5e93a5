from __future__ import annotations

import pytest

from kresp3d.config.schema import changed_keys, parse_config
from kresp3d.experiments.reproduction.tables import CLAIMS, ROWS, TABLES, find_table, paper_top1, row_config, rows_of
from kresp3d.system.errors import UsageError


def config(**model):
    return parse_config({"name": "paper", "seed": 4, "model": {"frames": 8, **model}}, "test")


def test_nine_networks_make_the_three_tables():
    assert list(rows_of([2, 3, 4])) == list(ROWS) and len(ROWS) == 9
    assert rows_of([3]) == ("residual", "residual_s2", "residual_s4")
    # Shared rows come once.
    assert rows_of([4, 2]) == ("rgb", "residual", "both", "full3d", "no_attention", "no_feature_residual", "plain")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("rgb", ("p3d", "rgb", 1, True, True)),
        ("residual", ("p3d", "residual", 1, True, True)),
        ("both", ("p3d", "both", 1, True, True)),
        ("full3d", ("full3d", "both", 1, True, True)),
        ("residual_s2", ("p3d", "residual", 2, True, True)),
        ("residual_s4", ("p3d", "residual", 4, True, True)),
        ("no_attention", ("p3d", "both", 1, False, True)),
        ("no_feature_residual", ("p3d", "both", 1, True, False)),
        ("plain", ("p3d", "both", 1, False, False)),
    ],
)
@pytest.mark.parametrize("base", [{}, {"modality": "rgb", "step": 3, "attention": False, "variant": "full3d"}])
def test_a_row_is_the_same_network_whatever_the_base_says_of_it(row, expected, base):
    model = row_config(config(**base), row, seed=5).model
    assert (model.variant, model.modality, model.step, model.attention, model.feature_residual) == expected


def test_a_row_shares_everything_else_with_the_base():
    base = config()
    changed = [key for key, _, _ in changed_keys(base, row_config(base, "plain", seed=5))]
    assert changed == ["name", "seed", "model.attention", "model.feature_residual"]
    assert row_config(base, "rgb").name == "paper-rgb" and row_config(base, "rgb").seed == 4


def test_an_impossible_row_is_named():
    with pytest.raises(UsageError, match="row rgb: 'seed'"):
        row_config(config(), "rgb", seed=2**31)


def test_the_papers_numbers_of_a_row_agree_between_tables():
    for table in TABLES:
        for entry in table.entries:
            assert entry.top1 == paper_top1(entry.row)
            assert entry.top5 is None or entry.top1 < entry.top5 < 1


def test_a_claim_compares_rows_of_its_table_as_the_paper_ordered_them():
    for claim in CLAIMS:
        for better, worse in claim.comparisons:
            assert {better, worse} <= set(find_table(claim.table).rows)
            assert paper_top1(better) > paper_top1(worse)
