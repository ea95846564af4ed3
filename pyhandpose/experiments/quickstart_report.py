"""What the quick start writes: report.md, results.json, the label-efficiency plot, examples."""

from __future__ import annotations

import statistics

from pyhandpose.data.whole_file import write_bytes, write_json
from pyhandpose.evaluation.examples import worst_median_best
from pyhandpose.evaluation.metrics import METRICS as METRIC_NAMES
from pyhandpose.evaluation.report import (
    markdown_table,
    number,
    provenance,
)
from pyhandpose.experiments.quickstart import (
    CLAIM_LABELS,
    CLAIM_RATIO,
    METRICS,
    Quickstart,
    QuickstartResult,
)
from pyhandpose.plot.curves import label_efficiency_figure
from pyhandpose.plot.examples import examples_figure
from pyhandpose.plot.figure import png_bytes


def write_report(quickstart: Quickstart, command: str) -> list[str]:
    """Write every file of the quick start's folder; their names."""
    result, out = quickstart.result, quickstart.out
    files = {
        "label-efficiency.png": png_bytes(
            label_efficiency_figure(
                curves(result),
                title="Ridge probe on frozen features",
                reference=("mean pose", result.mean_pose["epe_2d"]),
            )
        ),
        "examples.png": png_bytes(
            examples_figure(
                worst_median_best(
                    quickstart.evaluation,
                    quickstart.test_data,
                    quickstart.evaluation.summaries["pa_epe"],
                )
            )
        ),
        "report.md": report(result, command).encode(),
    }
    for name, content in files.items():
        write_bytes(out / name, content)
    made_by = provenance("cpu")
    write_json(out / "results.json", {"made_by": made_by, "command": command, **result.to_json()})
    return ["results.json", *files]


def curves(result: QuickstartResult) -> dict[str, dict[int, list[float]]]:
    """[contestant][number of labels] -> 2D EPE of each seed, by probe."""
    return {
        name: {count: [seed["epe_2d"] for seed in seeds] for count, seeds in by_count.items()}
        for name, by_count in result.probe.items()
    }


def spread(seeds: list[dict[str, float]], metric: str) -> str:
    """Mean and standard deviation over the seeds."""
    values = [seed[metric] for seed in seeds]
    mean = number(statistics.fmean(values))
    return f"{mean} ± {number(statistics.stdev(values))}" if len(values) > 1 else mean


def table(result: QuickstartResult) -> str:
    """The comparison, a row per contestant."""
    columns = [
        (table_name, title, count)
        for table_name, title in (("probe", "probe"), ("finetune", "fine-tuned"))
        for count in next(iter(getattr(result, table_name).values()))
    ]
    units = {m: f"{METRIC_NAMES[m].title} ({METRIC_NAMES[m].unit})" for m in METRICS}
    header = ["encoder"]
    header += [
        f"{title}, {count} labels: {units[m]}" for _, title, count in columns for m in METRICS
    ]
    rows = [
        [name]
        + [
            spread(getattr(result, table_name)[name][count], metric)
            for table_name, _, count in columns
            for metric in METRICS
        ]
        for name in result.probe
    ]
    mean_pose = [number(result.mean_pose[m]) for _ in columns for m in METRICS]
    return markdown_table(header, [*rows, ["mean pose", *mean_pose]])


def verdict(result: QuickstartResult) -> str:
    """What the numbers say, whichever way they came out."""
    ratio = result.claim_ratio()
    ours = result.mean("probe", "PeCLR", CLAIM_LABELS, "epe_2d")
    simclr = min(
        result.mean("probe", name, CLAIM_LABELS, "epe_2d")
        for name in result.probe
        if name.startswith("SimCLR")
    )
    scratch = result.mean("probe", "scratch", CLAIM_LABELS, "epe_2d")
    ahead = ours < simclr < scratch
    lines = [
        f"- Probe, {CLAIM_LABELS} labels, 2D EPE: PeCLR {ours:.2f} px, the better SimCLR "
        f"{simclr:.2f} px, scratch {scratch:.2f} px: the order PeCLR < SimCLR < scratch "
        + ("holds." if ahead else "does NOT hold here."),
        f"- PeCLR over the better SimCLR: {ratio:.3f}; clearly ahead means at most "
        f"{CLAIM_RATIO}: " + ("reached." if ratio <= CLAIM_RATIO else "NOT reached."),
    ]
    gain = 1 - result.model["pa_epe"] / result.mean_pose["pa_epe"]
    lines.append(
        f"- A model trained with all {result.config.num_images:,} labels: 2D EPE "
        f"{result.model['epe_2d']:.2f} px, PA-EPE {result.model['pa_epe']:.2f} mm, which is "
        f"{abs(100 * gain):.0f} % {'below' if gain >= 0 else 'ABOVE'} the mean pose's "
        f"{result.mean_pose['pa_epe']:.2f} mm."
    )
    return "\n".join(lines)


def report(result: QuickstartResult, command: str) -> str:
    """report.md."""
    config = result.config
    minutes = sum(result.seconds.values()) / 60
    stages = markdown_table(
        ["stage", "seconds"], [[title, f"{s:.0f}"] for title, s in result.seconds.items()]
    )
    note = " (of this call: an earlier one had begun)" if result.resumed else ""
    made_by = ", ".join(f"{key} {value}" for key, value in provenance("cpu").items())
    return f"""# Quick start: does equivariance help?

Three encoders were pre-trained without labels on {config.num_images:,} rendered hands
({config.look} look, {config.image_size} px), {config.epochs} epochs each, with the same network,
batch size, temperature and optimiser. They differ in loss and views alone: **PeCLR** undoes each
view's rotation, translation and scale in the latent before NT-Xent; **SimCLR, same views** does
not; **SimCLR, own views** uses the views that are best for it, scale and colour (PeCLR paper,
section 4.4). **scratch** is the network before any training.

{table(result)}

2D EPE in px of the {config.image_size} px images, PA-EPE in mm, on {config.num_test:,} test images;
mean ± standard deviation over {config.num_seeds} draws of labels. *probe*: ridge regression from
the frozen features. *fine-tuned*: encoder and head trained together, {config.finetune_steps} steps
for every encoder.

{verdict(result)}

![2D EPE against the number of labels](label-efficiency.png)

Worst, median and best prediction of the model trained with all labels:

![example predictions](examples.png)

{stages}

{minutes:.1f} minutes in all{note}. Made by `{command}`; {made_by}.
"""
