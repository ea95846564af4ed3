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
    epochs: int = 14
    """Passes over the images in each pre-training."""
    probe_labels: tuple[int, ...] = (64, 256)
    """Numbers of labels for the ridge probe."""
    finetune_labels: tuple[int, ...] = (256,)
    """Numbers of labels for fine-tuning."""
    finetune_steps: int = 120
    """Steps of each fine-tuning, whatever the number of labels."""
    num_seeds: int = 3
    """Draws of labels (and of the head's weights), for mean and spread."""
    model_epochs: int = 10
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


class Quickstart:
    """Runs the stages in a folder; a stage that was finished there before is not repeated."""

    def __init__(self, config: QuickstartConfig, out: Path, model_folder: Path) -> None:
        self.config, self.out, self.model_folder = config, out, model_folder
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
        for contestant in self.contestants:
            if contestant.preset is not None:
                with self._stage(f"pre-train {contestant.name} (no labels)"):
                    self._pretrain(contestant)
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

    def _pretrain(self, contestant: Contestant) -> None:
        assert contestant.preset is not None
        method = build_method(contestant.preset.method, contestant.preset.train.seed)
        self._train(method, self.train_data, contestant.preset, contestant.folder)

    def _train(self, method: Any, data: Dataset, preset: Preset, folder: str) -> None:
        """Train, or go on where an earlier call stopped."""
        run = self.out / "runs" / folder
        resume = (run / "checkpoints" / "latest.json").exists()
        self.result.resumed |= resume
        train(method, data, preset.train, run, resume=resume)

    def _finetuned(self, contestant: Contestant, data: Dataset, preset: Preset, folder: str) -> Any:
        """A pose estimator trained on all of ``data`` from a contestant's encoder."""
        method = build_method(preset.method, preset.train.seed)
        if (encoder := self._encoder_checkpoint(contestant)) is not None:
            load_encoder(encoder, into=method)
        self._train(method, data, preset, folder)
        return method

    def _encoder_checkpoint(self, contestant: Contestant) -> Path | None:
        return None if contestant.preset is None else self.out / "runs" / contestant.folder

    def _probe(self) -> None:
        base = tiny_cpu_supervised()
        for contestant in self.contestants:
            method = build_method(base.method, base.train.seed)
            if (checkpoint := self._encoder_checkpoint(contestant)) is not None:
                load_encoder(checkpoint, into=method)
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
        base, config = tiny_cpu_supervised(), self.config
        for contestant in self.contestants:
            by_count = self.result.finetune[contestant.name] = {}
            for count in config.finetune_labels:
                preset = finetune_preset(base, count, config.finetune_steps)
                by_count[count] = [
                    self._finetune_once(contestant, preset, count, seed)
                    for seed in range(config.num_seeds)
                ]

    def _finetune_once(
        self, contestant: Contestant, preset: Preset, num_labels: int, seed: int
    ) -> dict[str, float]:
        chosen = label_subset(len(self.train_data), num_labels, seed)
        folder = f"{contestant.folder}-{num_labels}-labels-seed{seed}"
        seeded = replace(preset, train=replace(preset.train, seed=seed))
        method = self._finetuned(contestant, Subset(self.train_data, chosen), seeded, folder)
        return summary(self._evaluate(method, contestant.name, progress=False))

    def _evaluate(self, method: Any, name: str, progress: bool) -> Evaluation:
        size = tiny_cpu_supervised().train.view_size
        return evaluate(
            method, self.test_data, name=name, input_size=size, metrics=METRICS, progress=progress
        )

    def _model(self) -> Evaluation:
        base = tiny_cpu_supervised()
        preset = replace(
            base, train=replace(base.train, epochs=self.config.model_epochs, batch_size=128)
        )
        method = self._finetuned(self.contestants[0], self.train_data, preset, "model")
        save_checkpoint(self.model_folder, method, preset.train.view_size)
        evaluation = self._evaluate(method, "all labels", progress=True)
        self.result.model = summary(evaluation)
        self.result.mean_pose = summary(
            mean_pose_baseline(self.train_data, self.test_data, progress=False)
        )
        return evaluation
