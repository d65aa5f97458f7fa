"""A trained model as a file that runs without its code: torch.export or ONNX."""

from mmengine.export._errors import ExportError
from mmengine.export._export import Exported, export, export_model

__all__ = ['ExportError', 'Exported', 'export', 'export_model']
