"""Running a trained model on images and other inputs."""

from mmengine.infer._predict import Predictions, predict
from mmengine.infer.infer import BaseInferencer

__all__ = ['BaseInferencer', 'Predictions', 'predict']
