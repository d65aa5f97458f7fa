"""Running a trained model on images and other inputs."""

from mmengine.infer.infer import BaseInferencer

__all__ = ['BaseInferencer']
