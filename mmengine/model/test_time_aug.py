"""Test-time augmentation: predict several views of a sample and merge the predictions."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.model.base_model import BaseModel
from mmengine.registry import MODELS
from mmengine.utils.errors import ArgumentError


@MODELS.register_module()
class BaseTTAModel(BaseModel):
    """Base class of models that merge the predictions of another model for several views.

    Implement :meth:`merge_preds`. Each key of the batch holds a list of views, and each view is a
    batch: ``dict(inputs=[view_1_batch, view_2_batch], data_samples=[view_1_samples,
    view_2_samples])``.

    Args:
        module: The model that predicts, or its config. A distributed wrapper is removed.
        data_preprocessor: As in :class:`BaseModel`; the views are processed by the data
            preprocessor of ``module``.

    Raises:
        TypeError: If ``module`` is neither a module nor a config.
        ArgumentError: If ``module`` has no ``test_step``.
    """

    def __init__(
        self,
        module: dict[str, Any] | nn.Module,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        if isinstance(module, Mapping):
            module = MODELS.build(module)
        if not isinstance(module, nn.Module):
            raise TypeError(
                f'module must be a torch.nn.Module or a config, got {type(module).__name__}.'
            )
        module = unwrap_model(module)
        if not callable(getattr(module, 'test_step', None)):
            raise ArgumentError(
                f'{type(module).__name__} has no test_step, so it cannot predict. Derive it from '
                'BaseModel.'
            )
        self.module = module

    @abstractmethod
    def merge_preds(self, data_samples_list: list[list[Any]]) -> list[Any]:
        """Merge the predictions of each sample into one.

        Args:
            data_samples_list: For each sample, the predictions of its views.

        Returns:
            One prediction per sample.
        """

    def forward(
        self, inputs: Any, data_samples: list[Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Not used: :meth:`test_step` computes the predictions."""
        raise NotImplementedError(
            f'{type(self).__name__} supports only test_step(data). Implement forward for other '
            'uses.'
        )

    def test_step(self, data: Any) -> list[Any]:
        """Predict all views of a batch and merge the predictions.

        Args:
            data: A batch as described in the class docstring; or a list of dicts, one per view; or
                a list or tuple whose items are lists of views, which are passed to ``module`` as a
                list.
        """
        model: Any = self.module
        of_views = [model.test_step(view) for view in _views(data)]
        return self.merge_preds(list(zip(*of_views, strict=True)))  # type: ignore[arg-type]  # one tuple per sample


def _views(data: Any) -> list[Any]:
    """The batches for ``module``, one per view."""
    if isinstance(data, Mapping):
        by_key = {key: len(views) for key, views in data.items()}
        if len(set(by_key.values())) > 1:
            raise ArgumentError(
                f'All keys of the batch must have the same number of views, got {by_key}.'
            )
        return [dict(zip(data, view, strict=True)) for view in zip(*data.values(), strict=True)]
    if all(isinstance(view, Mapping) for view in data):
        return list(data)
    return [list(view) for view in zip(*data, strict=True)]
