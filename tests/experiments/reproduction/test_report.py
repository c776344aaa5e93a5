from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from kresp3d.experiments.cost import Survey
from kresp3d.experiments.reproduction import report as report_module
from kresp3d.experiments.reproduction.claims import judge
from kresp3d.experiments.reproduction.folder import ReproductionFolder
from kresp3d.experiments.reproduction.report import detectable_words, write_all


@pytest.fixture
def folder(tmp_path):
    """A folder with the environment and the precision that a training writes down."""
    folder = ReproductionFolder(tmp_path)
    packages = {"tensorflow": "2.21.0", "keras": "3.15.1"}
    for row in ("rgb", "both", "residual"):
        for seed in range(3):
            path = folder.training(row, seed).path
            path.mkdir(parents=True)
            environment = {"kresp3d": "0.1.0", "python": "3.11.7", "packages": packages}
            (path / "environment.json").write_text(json.dumps({"records": "records", **environment}))
            (path / "config.yaml").write_text("training: {precision: float32}")
    return folder


@pytest.fixture
def write(folder, facts, monkeypatch):
    """`write(results)` gives the lines of the report."""
    monkeypatch.setattr(report_module, "save", lambda figure, path: path)

    def write(results, facts=facts):
        write_all(folder, results, facts)
        return folder.report_file.read_text().splitlines()

    return write


def cells(lines, first):
    """The cells of the only table row that begins so."""
    [line] = [line for line in lines if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def only(scores, *rows):
    return {row: scores[row] for row in rows}


def test_a_table_has_means_with_spreads_beside_the_papers_numbers(make_results, scores, write):
    lines = write(make_results(only(scores, "rgb", "residual", "both"), tables=(2,)))
    assert cells(lines, "RGB") == [
        *("RGB", "3", "69.0 ± 1.0", "90.0 ± 0.0", "71.0 ± 1.0", "90.0 ± 0.0", "80.4 / 95.0"),
        *("32.80 M", "113 G", "28"),
    ]
    # Nothing is known of this one yet.
    assert cells(lines, "RGB + residual, full 3D")[1:7] == ["0", "–", "–", "–", "–", "85.0 / 99.1"]
    assert "![Table 2](figures/table_2.png)" in lines


def test_one_seed_has_no_spread_and_top_5_of_five_classes_is_a_dash(make_results, write):
    lines = write(make_results({"rgb": [0.5], "residual": [0.6]}, tables=(2,), top5=None))
    assert cells(lines, "RGB")[1:6] == ["1", "48.0", "–", "50.0", "–"]
    [compared] = [line for line in lines if "| residual − RGB |" in line]
    assert compared.endswith("| undecided (one seed) |")
    [missing] = [line for line in lines if "| RGB + residual − residual |" in line]
    assert missing.endswith("| undecided (no seed is finished in both) |")
    assert "1 seed: how small a difference could be detected is not known yet." in lines


def test_claims_stand_with_their_comparisons(make_results, scores, write):
    lines = write(make_results(only(scores, "rgb", "residual", "both"), tables=(2,)))
    claims = lines[lines.index("## Claims") :]
    assert next(line for line in claims if "**both > residual > RGB**" in line).endswith("| **supported** |")
    [row] = [line for line in claims if "RGB + residual − residual |" in line]
    # Differences of 10, 11 and 9 points: t = 10 * sqrt(3), and the 95 % quantile with 2 degrees of freedom is 2.920.
    assert [cell.strip() for cell in row.strip("|").split("|")][2:7] == ["+2.6", "+10.0", "+8.3 to +11.7", "0.002", "3"]
    assert any(re.search(r"\| pseudo-3D|pseudo-3D ≥ full 3D\*\* .*undecided", line) for line in claims)


def test_a_reader_is_told_how_little_few_seeds_can_show(make_results, scores):
    results = make_results(only(scores, "rgb", "residual", "both"), tables=(2,))
    words = detectable_words(results, judge(results.scores(), results.tables))
    assert words.startswith("With 3 seeds and the spread seen here") and "80 %" in words
    # With a standard deviation of 1 point: at a noncentrality of 3.979, which is 3.979 / sqrt(3) points, 80 % of the
    # noncentral t distribution with 2 degrees of freedom lie above the 95 % quantile of the central one.
    smallest = float(re.search(r"difference of ([\d.]+)", words)[1])
    assert smallest == pytest.approx(2.3, abs=0.05)


def test_an_interrupted_reproduction_says_what_is_known_so_far(make_results, scores, write):
    scores["both"][2] = "the loss became nan"
    scores["residual"][2] = None
    lines = write(make_results(only(scores, "rgb", "residual", "both"), tables=(2,)))
    assert "**Unfinished: 7 of 12 trainings are done, 1 failed.** What follows is known so far." in lines
    trainings = lines[lines.index("## Trainings") : lines.index("## Failed")]
    assert cells(trainings, "`both`")[2:5] == ["90.0", "92.0", "failed"]
    assert cells(trainings, "`residual`")[4] == "waiting"
    assert lines[lines.index("## Failed") + 4] == "| `both` | 2 | the loss became nan |"
    assert cells(lines, "residual")[1] == "2"


def test_a_finished_one_says_nothing_of_that(make_results, scores, write):
    lines = write(make_results(only(scores, "residual"), tables=(2,)))
    assert "## Failed" not in lines and any("Unfinished" in line for line in lines)
    complete = make_results(scores, tables=(2,))
    complete = replace(complete, trainings=tuple(r for r in complete.trainings if r.row in ("rgb", "residual", "both")))
    assert not any("Unfinished" in line for line in write(complete))


def test_it_says_what_it_was_made_with(make_results, scores, write, facts):
    facts = replace(facts, survey=Survey(facts.survey.costs, ("NVIDIA H100",)))
    lines = write(make_results(only(scores, "rgb"), tables=(2,)), facts)
    assert lines[2] == "    kresp3d reproduce --config paper.yaml"
    assert "measured on 50 test videos (90 train videos)" in lines[4]
    assert "TensorFlow 2.21.0, Keras 3.15.1" in cells(lines, "versions")[1]
    assert "NVIDIA H100" in cells(lines, "machine")[1]
    assert cells(lines, "training in all")[1] == "3:03 (183 s)"
    assert any("One of the 50 videos is 2 points." in line for line in lines)
    links = re.findall(r"\]\(([^)]+)\)", "\n".join(lines))
    assert links and not any(link.startswith(("/", "http")) for link in links)


def test_it_says_in_which_precision_the_networks_were_trained(make_results, scores, write, folder):
    results = make_results(only(scores, "rgb"), tables=(2,))
    assert results.base.training.precision == "auto"
    assert ", float32, " in cells(write(results), "training")[1]
    (folder.training("rgb", 1).path / "config.yaml").write_text("training: {precision: mixed_bfloat16}")
    assert ", float32 and mixed_bfloat16, " in cells(write(results), "training")[1]


def test_a_bar_in_a_reason_does_not_break_the_table(make_results, scores, write):
    lines = write(make_results({"rgb": ["a | b\nc"]}, tables=(2,)))
    assert "| `rgb` | 0 | a \\| b c |" in lines


@pytest.mark.parametrize(("validation", "kept"), [(0, "last"), (20, "best")])
def test_the_best_epoch_is_kept_only_where_there_are_videos_to_know_it_by(
    make_results, scores, write, facts, validation, kept
):
    facts = replace(facts, videos={**facts.videos, "validation": validation})
    lines = write(make_results(only(scores, "rgb"), tables=(2,)), facts)
    assert f"{kept} epoch kept" in cells(lines, "training")[1]
