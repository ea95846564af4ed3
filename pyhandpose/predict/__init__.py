"""Hand poses of a user's own photos and videos.

>>> from pyhandpose import Predictor
>>> prediction, = Predictor.load()(["photo.jpg"])
>>> prediction.joints_img_px   # (21,2), pixels of the photo
"""

from pyhandpose.predict.camera import ASSUMED_FOV_DEG, ASSUMED_HAND_SCALES_MM, Camera
from pyhandpose.predict.predictor import HandChoice, Predictor, Request, default_checkpoint
from pyhandpose.predict.record import DEPTH_WORDS, Prediction

__all__ = [
    "ASSUMED_FOV_DEG",
    "ASSUMED_HAND_SCALES_MM",
    "DEPTH_WORDS",
    "Camera",
    "HandChoice",
    "Prediction",
    "Predictor",
    "Request",
    "default_checkpoint",
]
