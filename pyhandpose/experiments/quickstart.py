"""The quick start: does undoing the affine in the latent help? PeCLR, SimCLR and scratch compared.

On the synthetic world, with one small encoder: three pre-trainings without labels, then what each
encoder gives to a linear read-out (ridge probe) and to fine-tuning with few labels, beside no
pre-training and the mean pose. The claim is 001's Table 1 and Figure 6 in miniature.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyhandpose.data.loader import label_subset
from pyhandpose.data.registry import Dataset, Subset, open_dataset
from pyhandpose.evaluation.evaluate import Evaluation, evaluate
from pyhandpose.evaluation.mean_pose import mean_pose_baseline
from pyhandpose.evaluation.metrics import PoseErrors
from pyhandpose.evaluation.probe import ridge_probe
from pyhandpose.hand.pose25d import lift, to_25d
from pyhandpose.methods import build_method
from pyhandpose.training.checkpoint import load_encoder, save_checkpoint
from pyhandpose.training.features import extract_features
from pyhandpose.training.loop import train
from pyhandpose.training.presets import (
    Preset,
    tiny_cpu_peclr,
    tiny_cpu_simclr,
    tiny_cpu_supervised,
)
from pyhandpose.training.side_by_side import Job, run_side_by_side

METRICS = ("epe_2d", "pa_epe")
CLAIM_LABELS = 256
CLAIM_RATIO = 0.9
"""PeCLR's 2D EPE by probe, over the better SimCLR's, that counts as clearly ahead."""


@dataclass(frozen=True)
class QuickstartConfig:
    """Sizes of the comparison. All contestants share them; only loss and views differ."""

    num_images: int = 8192
    """Training images; their labels are used only where a number of labels is named."""
    num_test: int = 1024
    """Test images, of another seed than the training images."""
    image_size: int = 80
    """Side of the rendered images, px. Errors in px are in these pixels."""
    look: str = "wild"
    """Look of the synthetic world."""
    epochs: int = 28
    """Passes over the images in each pre-training."""
    probe_labels: tuple[int, ...] = (64, 256)
    """Numbers of labels for the ridge probe."""
    finetune_labels: tuple[int, ...] = (256,)
    """Numbers of labels for fine-tuning."""
    finetune_steps: int = 120
    """Steps of each fine-tuning, whatever the number of labels."""
    num_seeds: int = 3
    """Draws of labels (and of the head's weights), for mean and spread."""
    model_epochs: int = 16
    """Passes over all labels when the model for `pyhandpose predict` is trained at the end."""


FAST = QuickstartConfig(
    num_images=2048, num_test=512, epochs=6, finetune_steps=60, num_seeds=2, model_epochs=3
)
"""Under three minutes on two cores: shows that everything works, too short to support the claim."""


class Contestant(NamedTuple):
    """One way to obtain an encoder."""

    name: str
    folder: str
    preset: Preset | None
    """None: no pre-training."""


def contestants(config: QuickstartConfig) -> list[Contestant]:
    """PeCLR, SimCLR with its own best views (001) and with the same views, and scratch."""

    def as_long(preset: Preset) -> Preset:
        return replace(preset, train=replace(preset.train, epochs=config.epochs))

    peclr, simclr = as_long(tiny_cpu_peclr()), as_long(tiny_cpu_simclr())
    return [
        Contestant("PeCLR", "peclr", peclr),
        Contestant("SimCLR, own views", "simclr-own-views", simclr),
        Contestant("SimCLR, same views", "simclr-same-views", Preset(simclr.method, peclr.train)),
        Contestant("scratch", "scratch", None),
    ]


@dataclass
class QuickstartResult:
    """Everything that was measured."""

    config: QuickstartConfig
    probe: dict[str, dict[int, list[dict[str, float]]]] = field(default_factory=dict)
    """[contestant][number of labels], one {metric: value} per seed."""
    finetune: dict[str, dict[int, list[dict[str, float]]]] = field(default_factory=dict)
    """As ``probe``."""
    mean_pose: dict[str, float] = field(default_factory=dict)
    """{metric: value}."""
    model: dict[str, float] = field(default_factory=dict)
    """{metric: value} of the model trained with all labels."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock time of each stage."""
    resumed: bool = False
    """Whether a training had been started by an earlier, interrupted call, so that the times are
    not those of the whole."""

    def mean(self, table: str, contestant: str, num_labels: int, metric: str) -> float:
        """Mean over the seeds."""
        seeds = getattr(self, table)[contestant][num_labels]
        return sum(seed[metric] for seed in seeds) / len(seeds)

    def claim_ratio(self) -> float:
        """PeCLR's 2D EPE by probe at 256 labels over the better SimCLR's."""
        ours = self.mean("probe", "PeCLR", CLAIM_LABELS, "epe_2d")
        theirs = min(
            self.mean("probe", name, CLAIM_LABELS, "epe_2d")
            for name in self.probe
            if name.startswith("SimCLR")
        )
        return ours / theirs

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "claim_ratio": self.claim_ratio()}


class Poses(NamedTuple):
    """Labels of N images of side S, as a probe predicts them."""

    side: int
    target: Tensor
    """(N,21,3): position as a fraction of the side about the centre, relative depth."""
    joints_img: Tensor
    """(N,21,2) px."""
    joints_cam: Tensor
    """(N,21,3) m."""
    intrinsics: Tensor
    """(N,3,3) px."""
    scale: Tensor
    """(N,) m, length of the reference bone."""


def read_poses(data: Dataset, batch_size: int = 1024) -> Poses:
    """The labels of a fully labelled dataset."""
    joints_img, joints_cam, intrinsics, side = [], [], [], 0
    for indices in torch.arange(len(data)).split(batch_size):
        batch = data.read(indices)
        if batch.joints_img is None or batch.joints_cam is None or batch.intrinsics is None:
            raise ValueError(f"read_poses: expected 2D and 3D labels and K, got none: {data.name}")
        joints_img.append(batch.joints_img)
        joints_cam.append(batch.joints_cam)
        intrinsics.append(batch.intrinsics)
        side = batch.image.shape[1]
    img, cam, K = torch.cat(joints_img), torch.cat(joints_cam), torch.cat(intrinsics)
    joints_25d, scale = to_25d(img, cam)
    target = joints_25d.clone()
    target[..., :2] = (target[..., :2] - (side - 1) / 2) / side
    return Poses(side, target, img, cam, K, scale)


def probe_errors(
    features: Tensor, poses: Poses, test_features: Tensor, test: Poses
) -> dict[str, float]:
    """Ridge probe from frozen features to the 2.5D pose; {metric: value} on the test images."""
    predicted = ridge_probe(features, poses.target, test_features).predictions.float()
    joints_25d = predicted.clone()
    joints_25d[..., :2] = predicted[..., :2] * test.side + (test.side - 1) / 2
    pose = lift(joints_25d, test.intrinsics, test.scale)
    errors = PoseErrors(METRICS)
    errors.add(pose.joints_img, pose.joints_cam, test.joints_img, test.joints_cam)
    return {name: summary.mean for name, summary in errors.summaries().items()}


def finetune_preset(preset: Preset, num_labels: int, steps: int) -> Preset:
    """The fine-tuning preset with as many epochs as give ``steps`` steps."""
    steps_per_epoch = max(1, num_labels // preset.train.batch_size)
    epochs = max(1, round(steps / steps_per_epoch))
    return replace(preset, train=replace(preset.train, epochs=epochs, checkpoint_every=epochs))


def summary(evaluation: Evaluation) -> dict[str, float]:
    """{metric: value} of an evaluation."""
    return {name: evaluation.summaries[name].mean for name in METRICS}


def train_in(
    run: Path, spec: str, chosen: Tensor | None, preset: Preset, encoder: Path | None
) -> Any:
    """Train a method on a dataset, or on ``chosen`` samples of it, in the folder ``run``.

    It starts from the encoder of another run, if one is given, and goes on where an earlier call
    stopped. Returns the method.
    """
    data = open_dataset(spec)
    if chosen is not None:
        data = Subset(data, chosen)
    method = build_method(preset.method, preset.train.seed)
    if encoder is not None:
        load_encoder(encoder, into=method)
    train(method, data, preset.train, run, resume=has_begun(run))
    return method


def has_begun(run: Path) -> bool:
    """Whether a run has a checkpoint from which it can go on."""
    return (run / "checkpoints" / "latest.json").exists()


def pretrain(run: Path, spec: str, preset: Preset) -> None:
    """Pre-train; the encoder stays in the run's folder."""
    train_in(run, spec, None, preset, None)


def finetune(
    run: Path, spec: str, chosen: Tensor, preset: Preset, encoder: Path | None, test_spec: str
) -> dict[str, float]:
    """Fine-tune on the chosen samples; {metric: value} on the test images."""
    method = train_in(run, spec, chosen, preset, encoder)
    return summary(test_errors(method, test_spec, run.name, progress=False))


def test_errors(method: Any, test_spec: str, name: str, *, progress: bool) -> Evaluation:
    """Every metric of the tables, on the test images."""
    size = tiny_cpu_supervised().train.view_size
    return evaluate(
        method,
        open_dataset(test_spec),
        name=name,
        input_size=size,
        metrics=METRICS,
        progress=progress,
    )


class Quickstart:
    """Runs the stages in a folder; a stage that was finished there before is not repeated."""

    def __init__(
        self,
        config: QuickstartConfig,
        out: Path,
        model_folder: Path,
        processes: int | None = None,
    ) -> None:
        """``processes``: of trainings side by side; None means as many as torch uses threads."""
        self.config, self.out, self.model_folder = config, out, model_folder
        self.processes = processes
        self.result = QuickstartResult(config)
        self.contestants = contestants(config)
        spec = "synthetic:{}?size={}&look={}&seed={}"
        size, look = config.image_size, config.look
        self.train_spec = spec.format(config.num_images, size, look, 0)
        self.test_spec = spec.format(config.num_test, size, look, 1)

    def run(self) -> QuickstartResult:
        """All stages in order."""
        with self._stage("data: render the hands"):
            self.train_data = open_dataset(self.train_spec)
            self.test_data = open_dataset(self.test_spec)
            self.train_poses, self.test_poses = map(read_poses, (self.train_data, self.test_data))
        names = ", ".join(c.name for c in self.contestants if c.preset is not None)
        with self._stage(f"pre-train without labels: {names}"):
            self._pretrain()
        with self._stage("probe: frozen features, linear read-out"):
            self._probe()
        with self._stage("fine-tune with few labels"):
            self._finetune()
        with self._stage("train the model for `pyhandpose predict` with all labels"):
            self.evaluation = self._model()
        return self.result

    @contextmanager
    def _stage(self, title: str) -> Iterator[None]:
        print(f"\n== {title}", flush=True)
        start = time.perf_counter()
        yield
        self.result.seconds[title] = seconds = time.perf_counter() - start
        print(f"   {seconds:.0f} s", flush=True)

    def _pretrain(self) -> None:
        self._side_by_side(
            [
                Job(
                    contestant.name,
                    self._run(contestant.folder),
                    preset.train.epochs * (self.config.num_images // preset.train.batch_size),
                    pretrain,
                    (self._run(contestant.folder), self.train_spec, preset),
                )
                for contestant in self.contestants
                if (preset := contestant.preset) is not None
            ]
        )

    def _side_by_side(self, jobs: list[Job]) -> list[Any]:
        self.result.resumed |= any(has_begun(job.run_dir) for job in jobs)
        return run_side_by_side(jobs, self.out / "runs" / "output.txt", self.processes)

    def _run(self, folder: str) -> Path:
        return self.out / "runs" / folder

    def _encoder_run(self, contestant: Contestant) -> Path | None:
        return None if contestant.preset is None else self._run(contestant.folder)

    def _probe(self) -> None:
        base = tiny_cpu_supervised()
        for contestant in self.contestants:
            method = build_method(base.method, base.train.seed)
            if (run := self._encoder_run(contestant)) is not None:
                load_encoder(run, into=method)
            size = base.train.view_size
            features = extract_features(method.encoder, self.train_data, size)
            test_features = extract_features(method.encoder, self.test_data, size)
            self.result.probe[contestant.name] = {
                count: [
                    self._probe_once(features, test_features, count, seed)
                    for seed in range(self.config.num_seeds)
                ]
                for count in self.config.probe_labels
            }

    def _probe_once(
        self, features: Tensor, test_features: Tensor, num_labels: int, seed: int
    ) -> dict[str, float]:
        chosen = label_subset(len(features), num_labels, seed)
        poses = Poses(self.train_poses.side, *(part[chosen] for part in self.train_poses[1:]))
        return probe_errors(features[chosen], poses, test_features, self.test_poses)

    def _finetune(self) -> None:
        config = self.config
        cases = [
            (contestant, count, seed)
            for contestant in self.contestants
            for count in config.finetune_labels
            for seed in range(config.num_seeds)
        ]
        results = self._side_by_side([self._finetune_job(*case) for case in cases])
        for (contestant, count, _), errors in zip(cases, results, strict=True):
            by_count = self.result.finetune.setdefault(contestant.name, {})
            by_count.setdefault(count, []).append(errors)

    def _finetune_job(self, contestant: Contestant, num_labels: int, seed: int) -> Job:
        preset = finetune_preset(tiny_cpu_supervised(), num_labels, self.config.finetune_steps)
        preset = replace(preset, train=replace(preset.train, seed=seed))
        chosen = label_subset(self.config.num_images, num_labels, seed)
        run = self._run(f"{contestant.folder}-{num_labels}-labels-seed{seed}")
        encoder = self._encoder_run(contestant)
        return Job(
            f"{contestant.name}, draw {seed + 1}",
            run,
            preset.train.epochs * max(1, num_labels // preset.train.batch_size),
            finetune,
            (run, self.train_spec, chosen, preset, encoder, self.test_spec),
        )

    def _model(self) -> Evaluation:
        base = tiny_cpu_supervised()
        preset = replace(
            base, train=replace(base.train, epochs=self.config.model_epochs, batch_size=128)
        )
        run = self._run("model")
        self.result.resumed |= has_begun(run)
        encoder = self._encoder_run(self.contestants[0])
        method = train_in(run, self.train_spec, None, preset, encoder)
        save_checkpoint(self.model_folder, method, preset.train.view_size)
        evaluation = test_errors(method, self.test_spec, "all labels", progress=True)
        self.result.model = summary(evaluation)
        self.result.mean_pose = summary(
            mean_pose_baseline(self.train_data, self.test_data, progress=False)
        )
        return evaluation
