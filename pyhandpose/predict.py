"""Hand poses of a user's own photos.

>>> from pyhandpose import Predictor
>>> prediction, = Predictor.load()(["photo.jpg"])
>>> prediction.joints_img_px   # (21,2), pixels of the photo
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyhandpose.data.photo import (
    Box,
    Photo,
    PhotoSource,
    read_photo,
    square_box,
    square_crop,
)
from pyhandpose.data.sample import HandBatch
from pyhandpose.data.synthetic_cache import cache_directory
from pyhandpose.evaluation.evaluate import STATUS_WORDS, PoseEstimator, resize_view
from pyhandpose.evaluation.metrics import MM_PER_M
from pyhandpose.hand.camera import apply_image_affine, mirror
from pyhandpose.hand.pose25d import HandPose
from pyhandpose.hand.skeleton import JOINT_NAMES

ASSUMED_FOV_DEG = 60.0
"""Field of view across the longer side when no intrinsics are given: between a webcam's and a
telephone's main camera's."""

ASSUMED_HAND_SCALE_MM = 90.0
"""Length from the wrist to the index MCP when none is given: about an adult's mean. Every 3D
coordinate is proportional to it."""

DEPTH_WORDS = {
    "ok": "determined",
    "ambiguous": "ambiguous: a second depth also fits, the larger is reported",
    "clamped": "clamped: no depth fits the reference bone exactly, the nearest is reported",
    "degenerate": "undetermined: no 3D pose for this image",
}

Given = Literal["given", "assumed"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The pose of one photo and everything that was assumed to get it.

    Pixels are those of the photo as displayed (after its EXIF orientation), pixel centres at
    integers; millimetres are in OpenCV camera axes: x right, y down, z away from the camera.
    """

    source: str | None
    """The file, where there was one."""
    image_size_px: tuple[int, int]
    """(width, height) of the photo."""
    hand: str
    """"right" or "left", as the caller said."""
    joints_img_px: NDArray[np.float32]
    """(21,2)."""
    joints_cam_mm: NDArray[np.float32]
    """(21,3); NaN when the depth is undetermined."""
    depth: str
    """How well the distance to the camera is determined, one of the values of ``DEPTH_WORDS``."""
    intrinsics_px: tuple[float, float, float, float]
    """(fx, fy, cx, cy) of the photo."""
    intrinsics_from: Given
    fov_deg: float | None
    """The field of view across the longer side that was assumed; None with given intrinsics."""
    hand_scale_mm: float
    """Length of the bone from the wrist to the index MCP."""
    hand_scale_from: Given
    box_px: tuple[float, float, float, float]
    """(x0, y0, x1, y1) of the square that the network saw; (0, 0, W, H) is the whole photo."""
    checkpoint: str
    joint_order: str = "canonical"
    """Order of ``pyhandpose.hand.skeleton.JOINT_NAMES``."""

    def assumptions(self) -> list[str]:
        """What was not given and had to be assumed, a sentence each."""
        sentences = []
        if self.intrinsics_from == "assumed":
            sentences.append(
                f"The camera is assumed to see {self.fov_deg:g} degrees across the longer side, "
                "with square pixels and the principal point in the centre."
            )
        if self.hand_scale_from == "assumed":
            sentences.append(
                f"The bone from the wrist to the index MCP is assumed to be "
                f"{self.hand_scale_mm:g} mm long; every 3D coordinate is proportional to it."
            )
        return sentences

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; joints by name, NaN as null."""
        record = asdict(self)
        for key in ("joints_img_px", "joints_cam_mm"):
            rows = [
                [round(v, 3) if math.isfinite(v) else None for v in row]
                for row in getattr(self, key).tolist()
            ]
            record[key] = dict(zip(JOINT_NAMES, rows, strict=True))
        return {**record, "assumptions": self.assumptions()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Prediction:
        """The inverse of ``to_json`` (coordinates to its 3 decimals)."""
        known = {f.name: record[f.name] for f in fields(cls)}
        for key in ("joints_img_px", "joints_cam_mm"):
            rows = [[np.nan if v is None else v for v in known[key][name]] for name in JOINT_NAMES]
            known[key] = np.array(rows, np.float32)
        for key in ("image_size_px", "intrinsics_px", "box_px"):
            known[key] = tuple(known[key])
        return cls(**known)


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
        hand: Literal["right", "left"] = "right",
        hand_scale_mm: float | None = None,
        batch_size: int = 32,
    ) -> list[Prediction]:
        """Estimate one hand in each image.

        Args:
            images: file names, PIL images or uint8 arrays (H,W,3), one or several.
            box: (x0, y0, x1, y1) px around the hand, in every image; it is made square about its
                centre. None is the largest centred square.
            intrinsics: (fx, fy, cx, cy) px of the images; None assumes ``fov_deg``.
            fov_deg: field of view across the longer side, when there are no intrinsics.
            hand: "left" hands are mirrored for the network and back.
            hand_scale_mm: length from the wrist to the index MCP; None assumes 90 mm.
            batch_size: images that the network sees at a time.

        Raises:
            UnreadableImageError: a file that is missing or not an image, by name.
            ValueError: an array, a box or a camera that makes no sense.

        """
        from PIL import Image

        single = isinstance(images, (str, os.PathLike, Photo, Image.Image, np.ndarray, Tensor))
        sources = cast("Iterable[PhotoSource]", [images] if single else images)
        if hand not in ("right", "left"):
            raise ValueError(f"Predictor: hand must be 'right' or 'left', got {hand!r}")
        if hand_scale_mm is not None and not 0 < hand_scale_mm < math.inf:
            raise ValueError(f"Predictor: hand_scale_mm must be positive, got {hand_scale_mm}")
        if batch_size < 1:
            raise ValueError(f"Predictor: batch_size must be at least 1, got {batch_size}")
        photos = map(read_photo, sources)
        predictions: list[Prediction] = []
        while chunk := list(islice(photos, batch_size)):
            boxes = [square_box(box, photo.size) for photo in chunk]
            cameras = [_camera(intrinsics, fov_deg, photo.size) for photo in chunk]
            scale_mm = ASSUMED_HAND_SCALE_MM if hand_scale_mm is None else hand_scale_mm
            pose = self._estimate(chunk, boxes, cameras, hand == "left", scale_mm / MM_PER_M)
            predictions += [
                Prediction(
                    source=photo.source,
                    image_size_px=photo.size,
                    hand=hand,
                    joints_img_px=pose.joints_img[index].numpy(),
                    joints_cam_mm=(MM_PER_M * pose.joints_cam[index]).numpy(),
                    depth=DEPTH_WORDS[STATUS_WORDS[int(pose.status[index])]],
                    intrinsics_px=cameras[index],
                    intrinsics_from="assumed" if intrinsics is None else "given",
                    fov_deg=fov_deg if intrinsics is None else None,
                    hand_scale_mm=scale_mm,
                    hand_scale_from="assumed" if hand_scale_mm is None else "given",
                    box_px=boxes[index],
                    checkpoint=self.checkpoint,
                )
                for index, photo in enumerate(chunk)
            ]
        return predictions

    @torch.inference_mode()
    def _estimate(
        self,
        photos: list[Photo],
        boxes: list[Box],
        cameras: Sequence[Sequence[float]],
        left: bool,
        scale: float,
    ) -> HandPose:
        """Crop, run the method, and take its image points back to the photos' pixels."""
        side = self.input_size
        crops = torch.stack(
            [square_crop(photo, box, side) for photo, box in zip(photos, boxes, strict=True)]
        )  # (B,S,S,3) uint8
        corner = torch.tensor([box[:2] for box in boxes])  # (B,2)
        zoom = side / torch.tensor([box[2] - box[0] for box in boxes])  # (B,)
        # pixel i covers [i, i+1] of a box's coordinates and its centre is called i
        shift = (0.5 - corner) * zoom[:, None] - 0.5  # (B,2)
        linear = zoom[:, None, None] * torch.eye(2)  # (B,2,2)
        photo_camera = torch.tensor([_matrix(camera) for camera in cameras])  # (B,3,3)
        crop_camera, _ = apply_image_affine(
            photo_camera, torch.cat([linear, shift[..., None]], dim=-1)
        )
        if left:
            crops = crops.flip(2)
            nothing = torch.zeros(len(photos), 1, 3)
            _, _, crop_camera = mirror(nothing[..., :2], nothing, crop_camera, side)
        view = resize_view(HandBatch(image=crops), side)
        scales = torch.full((len(photos),), scale)
        pose = self.method.predict(
            view.image.to(self.device), crop_camera.to(self.device), scales.to(self.device)
        )
        joints_img, joints_cam, status = (part.cpu() for part in pose)
        if left:
            joints_img, joints_cam, _ = mirror(joints_img, joints_cam, crop_camera, side)
        in_photo = (joints_img - shift[:, None]) / zoom[:, None, None]
        return HandPose(in_photo, joints_cam, status)


def default_checkpoint() -> Path:
    """Where ``pyhandpose quickstart`` leaves its model: ``quickstart/model`` in the cache."""
    return cache_directory() / "quickstart" / "model"


def _camera(
    intrinsics: Sequence[float] | None, fov_deg: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) px, given or from the field of view across the longer side."""
    if intrinsics is None:
        if not 0 < fov_deg < 180:
            raise ValueError(f"Predictor: fov_deg must be between 0 and 180, got {fov_deg}")
        focal = max(size) / 2 / math.tan(math.radians(fov_deg) / 2)
        return focal, focal, (size[0] - 1) / 2, (size[1] - 1) / 2
    if len(intrinsics) != 4 or not all(map(math.isfinite, intrinsics)) or min(intrinsics[:2]) <= 0:
        raise ValueError(
            f"Predictor: intrinsics must be fx,fy,cx,cy in px with fx and fy positive, got "
            f"{tuple(intrinsics)}"
        )
    fx, fy, cx, cy = map(float, intrinsics)
    return fx, fy, cx, cy


def _matrix(camera: Sequence[float]) -> list[list[float]]:
    fx, fy, cx, cy = camera
    return [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]
