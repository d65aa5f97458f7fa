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
    """Base of models that let another one predict views of a sample, and merge the predictions.

    Implement :meth:`merge_preds`. The batch holds, under each key, a list of views, each a batch of
    its own: ``dict(inputs=[view_1_batch, view_2_batch], data_samples=[view_1_samples,
    view_2_samples])``.

    Args:
        module: The model that predicts, or its config. Its wrapper is taken off.
        data_preprocessor: As in :class:`BaseModel`; the views go through that of ``module``.

    Raises:
        TypeError: If ``module`` is neither a module nor a config.
        ArgumentError: If it has no ``test_step``.
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
                f'module has to be a torch.nn.Module or a config, got {type(module).__name__}.'
            )
        module = unwrap_model(module)
        if not callable(getattr(module, 'test_step', None)):
            raise ArgumentError(
                f'Predicting needs test_step, which {type(module).__name__} lacks. Derive it from '
                'BaseModel.'
            )
        self.module = module

    @abstractmethod
    def merge_preds(self, data_samples_list: list[list[Any]]) -> list[Any]:
        """Merge the predictions of each sample into one.

        Args:
            data_samples_list: For each sample, the predictions of its views.

        Returns:
            One prediction a sample.
        """

    def forward(
        self, inputs: Any, data_samples: list[Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Not used: :meth:`test_step` predicts."""
        raise NotImplementedError(
            f'{type(self).__name__} only tests: call test_step(data), or implement forward for '
            'another use.'
        )

    def test_step(self, data: Any) -> list[Any]:
        """The merged predictions of a batch of views.

        Args:
            data: A batch as described at the class. Also a list of dicts, one a view; or a list or
                tuple of such lists of views as the dict holds, which ``module`` then gets as a
                list.
        """
        model: Any = self.module
        of_views = [model.test_step(view) for view in _views(data)]
        return self.merge_preds(list(zip(*of_views, strict=True)))  # type: ignore[arg-type]  # a tuple a sample


def _views(data: Any) -> list[Any]:
    """The batches that ``module`` predicts, one a view."""
    if isinstance(data, Mapping):
        by_key = {key: len(views) for key, views in data.items()}
        if len(set(by_key.values())) > 1:
            raise ArgumentError(
                f'Every key of the batch has to hold as many views as the others, got {by_key}.'
            )
        return [dict(zip(data, view, strict=True)) for view in zip(*data.values(), strict=True)]
    if all(isinstance(view, Mapping) for view in data):
        return list(data)
    return [list(view) for view in zip(*data, strict=True)]
