"""`report.md` of a reproduction, its figures and CSV files, and the same tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kresp3d.config.schema import SYNTHETIC, Config
from kresp3d.datasets.splits import count
from kresp3d.evaluation.figures import save
from kresp3d.experiments.cost import Cost, Survey
from kresp3d.experiments.reproduction.claims import LEVEL, POWER, Comparison, Judgement, judge
from kresp3d.experiments.reproduction.figures import table_figure
from kresp3d.experiments.reproduction.folder import ReproductionFolder
from kresp3d.experiments.reproduction.results import MEASURES, Mean, Results, write_claims, write_results, write_tables
from kresp3d.experiments.reproduction.tables import ROWS, Entry, Table, find_table
from kresp3d.experiments.settings import machine_rows, network_rows
from kresp3d.system.files import write_text
from kresp3d.system.text import clock

MEASURE_NAMES = {
    "clip_top1": "clip top-1",
    "clip_top5": "clip top-5",
    "video_top1": "video top-1",
    "video_top5": "video top-5",
}


@dataclass(frozen=True)
class Facts:
    """What a reader should know besides the results."""

    command: str
    videos: Mapping[str, int]
    """Number of videos in each split."""
    classes: int
    survey: Survey


def write_all(folder: ReproductionFolder, results: Results, facts: Facts) -> None:
    """Write the CSV files, the figures and the report, in place of those of an earlier state."""
    judgements = judge(results.scores(), results.tables)
    costs = facts.survey.costs
    write_results(folder.path / "results.csv", results, costs)
    write_tables(folder.path / "tables.csv", results, costs)
    write_claims(folder.path / "claims.csv", judgements)
    for number in results.tables:
        save(table_figure(find_table(number), results), folder.path / "figures" / f"table_{number}.png")
    write_text(folder.report_file, _markdown(folder, results, judgements, facts))


def _markdown(folder: ReproductionFolder, results: Results, judgements: Sequence[Judgement], facts: Facts) -> str:
    base, split = results.base, results.base.evaluation.split
    lines = [
        f"# Reproduction {base.name}",
        "",
        f"    {facts.command}",
        "",
        "The experiments of *Residual Frames with Efficient Pseudo-3D CNN for Human Action Recognition* (Chen, Hsiao, "
        f"Ho; 2020) on {_data(base)}: {facts.classes} classes, {_videos(facts, split)}. The paper's numbers are those "
        "of UCF101, split 1, and are not to be expected of other data; what can be compared is the order of the rows.",
        "",
        *_state(results),
    ]
    for number in results.tables:
        table = find_table(number)
        lines += [f"## Table {number}: {table.title[0].lower()}{table.title[1:]}", ""]
        lines += [*_table(_table_rows(table, results, facts.survey.costs)), ""]
        lines += [f"![Table {number}](figures/table_{number}.png)", ""]
    lines += [
        "Scores are shares in percent, means over seeds with the standard deviation; a video's score is the mean over "
        f"{count(base.evaluation.clips, 'clip')}. MACs are multiply-adds for one clip.",
        "",
        "## Claims",
        "",
        *_table(_claim_rows(judgements)),
        "",
        *_reading(results, judgements, facts.videos[split]),
        "",
        "## Trainings",
        "",
        f"Video top-1 by seed, in percent, and the time of a training ({base.training.epochs} epochs).",
        "",
        *_table(_seed_rows(results)),
        "",
        *_failed(results),
        "## Settings",
        "",
        *_table(_setting_rows(folder, results, facts)),
        "",
        "All numbers: [results.csv](results.csv), [tables.csv](tables.csv), [claims.csv](claims.csv).",
    ]
    return "\n".join(lines) + "\n"


def _data(base: Config) -> str:
    return "the embedded dataset" if base.data.videos == SYNTHETIC else f"`{base.data.videos}`"


def _videos(facts: Facts, split: str) -> str:
    others = [f"{number} {name}" for name, number in facts.videos.items() if name != split and number]
    return f"measured on {facts.videos[split]} {split} videos ({', '.join(others)} videos)"


def _state(results: Results) -> list[str]:
    done, total = len(results.with_status("done")), len(results.trainings)
    if results.is_complete:
        return []
    parts = [f"{done} of {total} trainings are done"]
    for status, words in (("running", "running"), ("failed", "failed")):
        if found := results.with_status(status):  # type: ignore[arg-type]
            parts.append(f"{len(found)} {words}")
    return [f"**Unfinished: {', '.join(parts)}.** What follows is known so far.", ""]


def measured(mean: Mean, *, with_spread: bool = True) -> str:
    """A mean, and its standard deviation if there is one, in percent; a dash where nothing was measured."""
    if mean.mean is None:
        return "–"
    spread = mean.spread if with_spread else None
    return f"{100 * mean.mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def paper(entry: Entry) -> str:
    """The paper's video top-1 and, where given, top-5."""
    return f"{100 * entry.top1:.1f}" + ("" if entry.top5 is None else f" / {100 * entry.top5:.1f}")


def _table_rows(table: Table, results: Results, costs: Mapping[str, Cost]) -> list[list[str]]:
    has_flops = any(entry.gflops is not None for entry in table.entries)
    papers = "paper, video top-1" + (" / top-5" if any(entry.top5 is not None for entry in table.entries) else "")
    head = ["network", "seeds", *MEASURE_NAMES.values(), papers, "parameters", "MACs"]
    rows = [[*head, *(["paper, GFLOPs"] if has_flops else [])]]
    rows.append(["---", *["---:"] * (len(rows[0]) - 1)])
    for entry in table.entries:
        cost = costs[entry.row]
        rows.append(
            [
                entry.label,
                str(len(results.mean(entry.row).values)),
                *(measured(results.mean(entry.row, name)) for name in MEASURES),
                paper(entry),
                f"{cost.parameters / 1e6:.2f} M",
                f"{cost.macs / 1e9:.3g} G",
                *([f"{entry.gflops:g}"] if entry.gflops is not None else []),
            ]
        )
    return rows


def comparison_words(comparison: Comparison, table: int) -> str:
    """Which rows are compared, by their names in the table."""
    labels = {entry.row: entry.label for entry in find_table(table).entries}
    return f"{labels[comparison.better]} − {labels[comparison.worse]}"


def points(value: float | None) -> str:
    """A difference of shares in points; a dash where there is none."""
    # Adding zero makes minus zero plus zero.
    return "–" if value is None else f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """A probability; a dash where there is none."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(comparison: Comparison) -> str:
    """The 90 % interval in points, within the 100 that there are; a dash where there is none."""
    if comparison.interval is None:
        return "–"
    return " to ".join(points(min(1.0, max(-1.0, bound))) for bound in comparison.interval)


def detectable(value: float | None) -> str:
    """A detectable difference in points; a dash where it is not known."""
    return "–" if value is None else "> 100" if value > 1 else f"{100 * value:.1f}"


def verdict(comparison: Comparison) -> str:
    """What was decided, and why where it was not the t-test."""
    return comparison.verdict + (f" ({comparison.reason})" if comparison.reason else "")


def _claim_rows(judgements: Sequence[Judgement]) -> list[list[str]]:
    rows = [
        ["claim", "comparison", "paper", "here", "90 % interval", "p", "seeds", "detectable", "verdict"],
        ["---", "---", *["---:"] * 6, "---"],
    ]
    for judgement in judgements:
        rows.append([f"**{judgement.claim.words}**", *[""] * 7, f"**{judgement.verdict}**"])
        for comparison in judgement.comparisons:
            rows.append(
                [
                    "",
                    comparison_words(comparison, judgement.claim.table),
                    points(comparison.paper),
                    points(comparison.mean),
                    interval(comparison),
                    p_value(comparison.p),
                    str(len(comparison.differences)),
                    detectable(comparison.detectable),
                    verdict(comparison),
                ]
            )
    return rows


def _reading(results: Results, judgements: Sequence[Judgement], videos: int) -> list[str]:
    paragraphs = [
        "Differences are of video top-1 in points, with the same seed. A comparison is *supported* if a paired "
        f"one-sided t-test over the seeds gives p < {LEVEL:g}, *not supported* if the opposite has p < {LEVEL:g}, else "
        "*undecided*; the 90 % interval leaves out 0 just where it is decided. A claim is supported if all its "
        "comparisons are, and not supported if any is not. ≥ is tested as >: equality supports nothing, and where it "
        "holds, *undecided* is what comes out. Nothing is corrected for the number of comparisons.",
        detectable_words(results, judgements),
        "Seeds vary the weights, the order of the clips, augmentation and dropout. All trainings share one split: how "
        f"the result would differ with other videos, the intervals do not say. One of the {videos} videos is "
        f"{100 / videos:.2g} points.",
    ]
    return [line for paragraph in paragraphs if paragraph for line in (paragraph, "")][:-1]


def detectable_words(results: Results, judgements: Sequence[Judgement]) -> str:
    """How small a difference so few seeds could have shown."""
    found = [c.detectable for j in judgements for c in j.comparisons if c.detectable is not None]
    seeds = len(results.seeds)
    if not found:
        return f"{count(seeds, 'seed').capitalize()}: how small a difference could be detected is not known yet."
    low, high = detectable(min(found)), detectable(max(found))
    size = low if low == high else f"{low} to {high}"
    return (
        f"With {count(seeds, 'seed')} and the spread seen here, a true difference of {size} points, depending on the "
        f"comparison, would have been detected with a chance of {100 * POWER:.0f} % (*detectable*); of smaller ones, "
        "*undecided* says nothing."
    )


def _seed_rows(results: Results) -> list[list[str]]:
    seeds = results.seeds
    found = {(result.row, result.seed): result for result in results.trainings}
    rows = [["row", "network", *(f"seed {seed}" for seed in seeds), "time"]]
    rows.append(["---", "---", *["---:"] * (len(seeds) + 1)])
    for row in results.rows:
        cells = []
        for seed in seeds:
            result = found.get((row, seed))
            score = result.scores["video_top1"] if result is not None and result.scores else None
            if score is not None:
                cells.append(f"{100 * score:.1f}")
            else:
                cells.append("–" if result is None else result.status)
        times = [result.seconds for result in results.with_status("done") if result.row == row]
        rows.append([f"`{row}`", ROWS[row].label, *cells, clock(sum(times) / len(times)) if times else "–"])
    return rows


def _failed(results: Results) -> list[str]:
    rows = [[f"`{result.row}`", str(result.seed), result.reason] for result in results.with_status("failed")]
    if not rows:
        return []
    return ["## Failed", "", *_table([["row", "seed", "reason"], ["---", "---:", "---"], *rows]), ""]


def _setting_rows(folder: ReproductionFolder, results: Results, facts: Facts) -> list[list[str]]:
    base = results.base
    # Without validation videos, training cannot know the best one.
    kept = base.training.keep if facts.videos.get("validation") else "last"
    done = [folder.training(result.row, result.seed) for result in results.with_status("done")]
    rows = [
        *network_rows(base, kept, done),
        ("seeds", ", ".join(map(str, results.seeds))),
        *machine_rows(facts.survey.gpus, done, sum(result.seconds for result in results.trainings)),
    ]
    return [["", ""], ["---", "---"], *([name, value] for name, value in rows if value)]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]


def finished_words(results: Results) -> str:
    """How many trainings are done."""
    return f"{len(results.with_status('done'))} of {len(results.trainings)} trainings"
