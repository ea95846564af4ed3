"""A trained method on photos: where it looks, with what camera, and back to the photo's pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from pyhandpose.data.photo import Box, Photo, PhotoSource, read_photo, square_box, square_crop
from pyhandpose.data.sample import HandBatch
from pyhandpose.data.synthetic_cache import cache_directory
from pyhandpose.data.two_pass import TwoPass
from pyhandpose.evaluation.evaluate import STATUS_WORDS, PoseEstimator, resize_view
from pyhandpose.evaluation.metrics import MM_PER_M
from pyhandpose.hand.camera import apply_image_affine, mirror
from pyhandpose.hand.pose25d import REFERENCE_BONE, HandPose
from pyhandpose.hand.skeleton import JOINT_NAMES
from pyhandpose.predict.camera import ASSUMED_FOV_DEG, ASSUMED_HAND_SCALES_MM, Camera
from pyhandpose.predict.record import DEPTH_WORDS, Prediction

HandChoice = Literal["right", "left", "auto-both"]


@dataclass(frozen=True)
class Request:
    """One hand to estimate."""

    photo: Photo
    box: Sequence[float] | None = None
    """(x0, y0, x1, y1) px around the hand; None looks for it at the centre."""
    hand: HandChoice | None = None
    """None: assumed to be a right one; "auto-both": estimated as either."""


class _Look(NamedTuple):
    """One crop of one photo for the network."""

    photo: Photo
    box: Box
    left: bool


class Predictor:
    """A trained method, ready for photos."""

    def __init__(
        self,
        method: PoseEstimator,
        input_size: int,
        checkpoint: str,
        device: torch.device | str = "cpu",
    ) -> None:
        """Use ``load`` to read a checkpoint; this takes a method that is already in memory."""
        self.method = method
        self.input_size = input_size
        self.checkpoint = checkpoint
        self.device = torch.device(device)
        self.two_pass: TwoPass | None = getattr(method, "two_pass", None)
        self.reference_bone: tuple[int, int] = getattr(method, "reference_bone", REFERENCE_BONE)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, device: str = "auto") -> Predictor:
        """Read a checkpoint folder; without one, the model that ``pyhandpose quickstart`` made.

        Args:
            path: a checkpoint, or the folder of a run.
            device: "auto" is CUDA where there is one, else the CPU.

        Raises:
            FileNotFoundError: no path was given and the quick start has not been run.
            CheckpointError: the folder holds no whole checkpoint.
            ValueError: a method without a pose head, or CUDA where there is none.

        """
        from pyhandpose.training.checkpoint import load_method
        from pyhandpose.training.config import choose_device

        folder = default_checkpoint() if path is None else Path(path)
        if path is None and not folder.is_dir():
            raise FileNotFoundError(
                f"Predictor.load: no checkpoint was given and the quick start's ({folder}) does "
                "not exist; run `pyhandpose quickstart` to make it, or name a folder that "
                "`pyhandpose finetune` wrote"
            )
        method, config = load_method(folder)
        if not hasattr(method, "predict"):
            raise ValueError(
                f"Predictor.load: {folder} holds {config['method']!r}, which has no pose head; "
                "`pyhandpose finetune` adds one to a pre-trained encoder"
            )
        where = choose_device(device)
        return cls(method.to(where), config["input_size"], str(folder), where)

    def __call__(
        self,
        images: PhotoSource | Iterable[PhotoSource],
        *,
        box: Sequence[float] | None = None,
        intrinsics: Sequence[float] | None = None,
        fov_deg: float = ASSUMED_FOV_DEG,
        hand: Literal["right", "left"] | None = None,
        hand_scale_mm: float | None = None,
        batch_size: int = 8,
        passes: int = 2,
    ) -> list[Prediction]:
        """Estimate one hand in each image; ``stream`` for several hands, or as either hand.

        Args:
            images: file names, PIL images or uint8 arrays (H,W,3), one or several.
            box: (x0, y0, x1, y1) px around the hand, in every image. The network sees it with the
                margin that it was trained with (``method.two_pass.fill``).
            intrinsics: (fx, fy, cx, cy) px of the images; None assumes ``fov_deg``.
            fov_deg: field of view across the longer side, when there are no intrinsics.
            hand: "left" hands are mirrored for the network and back; None assumes "right".
            hand_scale_mm: length of the method's reference bone, from the wrist to the index MCP
                for ``Supervised``; None assumes an adult's.
            batch_size: images that the network sees at a time; they are held in memory whole.
            passes: without a box, 2 looks at the centre and then around the joints found there; 1
                at the centre alone.

        Raises:
            UnreadableImageError: a file that is missing or not an image, by name.
            ValueError: an array, a box or a camera that makes no sense.

        """
        from PIL import Image

        single = isinstance(images, (str, os.PathLike, Photo, Image.Image, np.ndarray, Tensor))
        sources = cast("Iterable[PhotoSource]", [images] if single else images)
        if hand not in (None, "right", "left"):
            raise ValueError(f"Predictor: hand must be 'right' or 'left', got {hand!r}")
        camera = Camera(intrinsics, fov_deg, hand_scale_mm)
        requests = (Request(read_photo(source), box, hand) for source in sources)
        stream = self.stream(requests, camera, batch_size=batch_size, passes=passes)
        return [prediction for _, (prediction,) in stream]

    def stream(
        self,
        requests: Iterable[Request],
        camera: Camera | None = None,
        *,
        batch_size: int = 8,
        passes: int = 2,
    ) -> Iterator[tuple[Request, list[Prediction]]]:
        """Answer requests as they come, in order, ``batch_size`` of them at a time.

        Yields:
            The request with its prediction; with two, right and left, for "auto-both".

        Raises:
            ValueError: an impossible batch size, number of passes or box.
        """
        if batch_size < 1:
            raise ValueError(f"Predictor: batch_size must be at least 1, got {batch_size}")
        if passes not in (1, 2):
            raise ValueError(f"Predictor: passes must be 1 or 2, got {passes}")
        waiting = iter(requests)
        while chunk := list(islice(waiting, batch_size)):
            yield from self._answer(chunk, camera or Camera(), passes)

    def crop_of(self, request: Request) -> Box:
        """The square of a first look.

        Raises:
            BoxOutsideError: a box outside the photo, or far larger than it.
            ValueError: a box that is empty or not finite.
        """
        size = request.photo.size
        square = square_box(request.box, size)  # also refuses impossible boxes
        if self.two_pass is None:
            return square
        if request.box is None:
            return self.two_pass.first(size, self.input_size)
        return self.two_pass.around(square, self.input_size)

    def _answer(
        self, requests: list[Request], camera: Camera, passes: int
    ) -> Iterator[tuple[Request, list[Prediction]]]:
        owners, looks = [], []
        for index, request in enumerate(requests):
            hands = ("right", "left") if request.hand == "auto-both" else (request.hand or "right",)
            owners += [index] * len(hands)
            crop = self.crop_of(request)
            looks += [_Look(request.photo, crop, hand == "left") for hand in hands]
        pose, in_crop = self._estimate(looks, camera)
        two_pass = self.two_pass
        box_from = ["centred" if requests[i].box is None else "given" for i in owners]
        if two_pass is not None and passes == 2 and "centred" in box_from:
            again = [row for row, origin in enumerate(box_from) if origin == "centred"]
            for row in again:
                look, side = looks[row], self.input_size
                found = two_pass.second(in_crop[row].numpy(), look.box, look.photo.size, side)
                looks[row], box_from[row] = look._replace(box=found), "found"
            second, _ = self._estimate([looks[row] for row in again], camera)
            for part, replacement in zip(pose, second, strict=True):
                part[again] = replacement
        predictions: list[list[Prediction]] = [[] for _ in requests]
        for row, owner in enumerate(owners):
            predictions[owner].append(
                self._record(requests[owner], looks[row], box_from[row], camera, pose, row)
            )
        yield from zip(requests, predictions, strict=True)

    def _record(
        self,
        request: Request,
        look: _Look,
        box_from: str,
        camera: Camera,
        pose: HandPose,
        row: int,
    ) -> Prediction:
        start, end = self.reference_bone
        assumed_camera = camera.intrinsics is None
        origins = {None: "assumed", "auto-both": "both"}
        return Prediction(
            source=look.photo.source,
            image_size_px=look.photo.size,
            hand="left" if look.left else "right",
            hand_from=origins.get(request.hand, "given"),
            joints_img_px=pose.joints_img[row].numpy(),
            joints_cam_mm=(MM_PER_M * pose.joints_cam[row]).numpy(),
            depth=DEPTH_WORDS[STATUS_WORDS[int(pose.status[row])]],
            intrinsics_px=camera.of(look.photo.size),
            intrinsics_from="assumed" if assumed_camera else "given",
            fov_deg=camera.fov_deg if assumed_camera else None,
            hand_scale_mm=self._scale_mm(camera),
            hand_scale_from="assumed" if camera.hand_scale_mm is None else "given",
            reference_bone=(JOINT_NAMES[start], JOINT_NAMES[end]),
            box_px=look.box,
            box_from=box_from,
            checkpoint=self.checkpoint,
            notes=getattr(self.method, "notes", ()),
        )

    def _scale_mm(self, camera: Camera) -> float:
        if camera.hand_scale_mm is not None:
            return float(camera.hand_scale_mm)
        return ASSUMED_HAND_SCALES_MM[self.reference_bone]

    @torch.no_grad()
    def _estimate(self, looks: list[_Look], camera: Camera) -> tuple[HandPose, Tensor]:
        """Crop, run the method, and take its image points back.

        Returns:
            The pose, in px of the photos; and its image points (B,21,2) in px of the crops, left
            hands not mirrored.
        """
        side = self.input_size
        boxes = torch.tensor([look.box for look in looks], dtype=torch.float64)  # (B,4)
        crops = torch.stack([square_crop(look.photo, look.box, side) for look in looks])
        zoom = side / (boxes[:, 2] - boxes[:, 0])  # (B,)
        # pixel i covers [i, i+1] of a box's coordinates and its centre is called i
        shift = (0.5 - boxes[:, :2]) * zoom[:, None] - 0.5  # (B,2)
        linear = zoom[:, None, None] * torch.eye(2, dtype=torch.float64)  # (B,2,2)
        photo_camera = torch.tensor(
            [_matrix(camera.of(look.photo.size)) for look in looks], dtype=torch.float64
        )
        crop_camera, _ = apply_image_affine(
            photo_camera, torch.cat([linear, shift[..., None]], dim=-1)
        )
        left = torch.tensor([look.left for look in looks])[:, None, None]  # (B,1,1)
        nothing = torch.zeros(len(looks), 1, 3, dtype=torch.float64)
        _, _, mirrored_camera = mirror(nothing[..., :2], nothing, crop_camera, side)
        view = resize_view(
            HandBatch(image=torch.where(left[..., None], crops.flip(2), crops)), side
        )
        seen_camera = torch.where(left, mirrored_camera, crop_camera).float()
        scales = torch.full((len(looks),), self._scale_mm(camera) / MM_PER_M)
        pose = self.method.predict(
            view.image.to(self.device), seen_camera.to(self.device), scales.to(self.device)
        )
        joints_img, joints_cam, status = (part.cpu() for part in pose)
        mirrored_img, mirrored_cam, _ = mirror(joints_img, joints_cam, seen_camera, side)
        in_crop = torch.where(left, mirrored_img, joints_img)
        in_photo = ((in_crop - shift[:, None]) / zoom[:, None, None]).float()
        return HandPose(in_photo, torch.where(left, mirrored_cam, joints_cam), status), in_crop


def default_checkpoint() -> Path:
    """Where ``pyhandpose quickstart`` leaves its model: ``quickstart/model`` in the cache."""
    return cache_directory() / "quickstart" / "model"


def _matrix(camera: Sequence[float]) -> list[list[float]]:
    fx, fy, cx, cy = camera
    return [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]
