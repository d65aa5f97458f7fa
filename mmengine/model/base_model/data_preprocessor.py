"""Data preprocessors: process a batch between the dataloader and ``forward``."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from mmengine.model.base_model._device_copies import copy_to
from mmengine.model.utils import padded_size, stack_batch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from mmengine.utils.errors import ArgumentError


@MODELS.register_module()
class BaseDataPreprocessor(nn.Module):
    """Moves a batch to the device of its model, on CUDA while the step before is still computed.

    Subclasses override :meth:`forward` and call :meth:`cast_data` first.

    Args:
        non_blocking: Copy asynchronously; useful with ``pin_memory`` in the dataloader.
    """

    def __init__(self, non_blocking: bool | None = False) -> None:
        super().__init__()
        self._non_blocking = bool(non_blocking)
        self._device = torch.device('cpu')

    def cast_data(self, data: Any) -> Any:
        """Move every tensor in ``data`` to :attr:`device`.

        Mappings, lists, (named) tuples and data elements are rebuilt, so that changes to the result
        do not change the batch of the dataloader. Tensors that are already on the device and other
        objects are returned unchanged.
        """
        device = self._device
        if isinstance(data, dict):
            contents = {}
            for key, value in data.items():
                # The most common batch is a dict of tensors on the right device: it needs one
                # comparison per entry.
                settled = type(value) is Tensor and value.device == device
                contents[key] = value if settled else self.cast_data(value)
            return contents if type(data) is dict else _rebuilt_mapping(data, contents)
        if isinstance(data, Tensor):
            return data if data.device == device else copy_to(data, device, self._non_blocking)
        if data is None or isinstance(data, (str, bytes)):
            return data
        if isinstance(data, (list, tuple)):
            items = [
                item if type(item) is Tensor and item.device == device else self.cast_data(item)
                for item in data
            ]
            if type(data) is list:
                return items
            return type(data)(*items) if hasattr(data, '_fields') else type(data)(items)
        if isinstance(data, BaseDataElement):
            return data.to(device, non_blocking=self._non_blocking)
        if isinstance(data, Mapping):
            return _rebuilt_mapping(
                data, {key: self.cast_data(value) for key, value in data.items()}
            )
        if isinstance(data, Sequence) and not isinstance(data, range):
            return type(data)([self.cast_data(item) for item in data])  # type: ignore[call-arg]  # as sequences are built
        return data

    def forward(self, data: Any, training: bool = False) -> Any:
        """Move the batch to the device of the model.

        Args:
            data: A batch from the dataloader.
            training: Whether to augment. Not used here; subclasses may use it.
        """
        return self.cast_data(data)

    @property
    def device(self) -> torch.device:
        """The device to which :meth:`cast_data` moves tensors: the device of this module."""
        return self._device

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        # Every method that moves a module, or its parents, calls `_apply`. The result of `fn` for
        # a probe tensor shows the new device.
        super()._apply(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # untyped in torch
        self._device = fn(torch.empty(0, device=self._device)).device
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Same as :meth:`torch.nn.Module.to`."""
        return super().to(*args, **kwargs)

    def cuda(self, *args: Any, **kwargs: Any) -> Self:
        """Same as :meth:`torch.nn.Module.cuda`."""
        return super().cuda(*args, **kwargs)

    def npu(self, *args: Any, **kwargs: Any) -> Self:
        """Move to the current Ascend device (needs torch_npu)."""
        return self.to(accelerator('npu', *args, **kwargs))

    def mlu(self, *args: Any, **kwargs: Any) -> Self:
        """Move to the current Cambricon device (needs torch_mlu)."""
        return self.to(accelerator('mlu', *args, **kwargs))

    def musa(self, *args: Any, **kwargs: Any) -> Self:
        """Move to the current Moore Threads device (needs torch_musa)."""
        return self.to(accelerator('musa', *args, **kwargs))

    def cpu(self, *args: Any, **kwargs: Any) -> Self:
        """Same as :meth:`torch.nn.Module.cpu`."""
        return super().cpu()


@MODELS.register_module()
class ImgDataPreprocessor(BaseDataPreprocessor):
    """Combines the images of a batch into one normalised float32 NCHW tensor.

    ``data['inputs']`` is a list of CHW images of any size, or an NCHW batch. The steps are, in this
    order: move to the device, convert channels, convert to float, normalise, pad on the right and
    at the bottom to the largest image (rounded up to a multiple of ``pad_size_divisor``), stack.
    ``data_samples`` is set to None if the batch has no ``data_samples``.

    Args:
        mean: Mean of each channel in the order after the conversion, one value or three. Requires
            ``std``.
        std: Standard deviation of each channel, one value or three.
        pad_size_divisor: Height and width are padded to multiples of this number.
        pad_value: Value of the padding, after normalisation.
        bgr_to_rgb: Reverse the three channels.
        rgb_to_bgr: Reverse the three channels. Cannot be combined with ``bgr_to_rgb``.
        non_blocking: Copy to the device asynchronously.

    Raises:
        ArgumentError: If only one of mean and std is given, one of them has another length or a
            value that is not finite, a value of std is not positive, both conversions are on, or
            the images of a batch do not match the settings.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float | int] | None = None,
        std: Sequence[float | int] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float | int = 0,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        non_blocking: bool | None = False,
    ) -> None:
        super().__init__(non_blocking)
        if bgr_to_rgb and rgb_to_bgr:
            raise ArgumentError(
                'bgr_to_rgb and rgb_to_bgr both reverse the channels; set only the one that '
                'matches the images.'
            )
        if (mean is None) != (std is None):
            given, absent = ('std', 'mean') if mean is None else ('mean', 'std')
            raise ArgumentError(
                f'Normalising needs both mean and std, but only {given} is given. Add {absent}, '
                f'or remove {given}.'
            )
        if pad_size_divisor < 1:
            raise ArgumentError(f'pad_size_divisor must be at least 1, got {pad_size_divisor}.')
        self._channel_conversion = bgr_to_rgb or rgb_to_bgr
        self._enable_normalize = mean is not None
        if mean is not None and std is not None:
            # They come from the config, so they are not part of the checkpoint.
            self.register_buffer('mean', _per_channel('mean', mean), persistent=False)
            self.register_buffer('std', _per_channel('std', std), persistent=False)
        self.pad_size_divisor = pad_size_divisor
        self.pad_value = pad_value

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Move the batch to the device and combine its images into one tensor, ``inputs``.

        Args:
            data: A batch with the key ``inputs``.
            training: Not used here; subclasses may augment if it is True.
        """
        batch: dict[str, Any] = self.cast_data(data)
        images = _images_of(batch, type(self).__name__)
        if isinstance(images, Tensor):
            batch['inputs'] = self._pad(self._normalize(images))
        elif all(
            image.shape == images[0].shape and image.dtype == images[0].dtype for image in images
        ):
            # One kernel call per operation for the whole batch; the values are the same as with
            # separate images.
            batch['inputs'] = self._pad(self._normalize(torch.stack(images)))
        else:
            batch['inputs'] = stack_batch(
                [self._normalize(image) for image in images], self.pad_size_divisor, self.pad_value
            )
        batch.setdefault('data_samples', None)
        return batch

    def _normalize(self, images: Tensor) -> Tensor:
        """Convert channels and normalise images whose channel dim is the third from the right."""
        num_channels = images.shape[-3]
        if self._channel_conversion:
            if num_channels != 3:
                raise ArgumentError(
                    'Only images with 3 channels can be converted between RGB and BGR, got '
                    f'{_named_shape(images)}.'
                )
            images = images.flip(-3)
        normalized = images.float()
        if not self._enable_normalize:
            return normalized
        num_values = max(self.mean.shape[0], self.std.shape[0])
        if num_values not in (1, num_channels):
            raise ArgumentError(
                f'mean and std have {num_values} values, so the images need as many '
                f'channels, got {_named_shape(images)}.'
            )
        return (normalized - self.mean) / self.std

    def _pad(self, batch_NCHW: Tensor) -> Tensor:
        height, width = batch_NCHW.shape[-2:]
        right = padded_size(width, self.pad_size_divisor) - width
        bottom = padded_size(height, self.pad_size_divisor) - height
        return (
            F.pad(batch_NCHW, (0, right, 0, bottom), 'constant', self.pad_value)
            if right or bottom
            else batch_NCHW
        )


def accelerator(kind: str, device: int | str | torch.device | None = None) -> torch.device:
    """The device of ``kind`` for an index, a full name, or None (the current device)."""
    if device is None:
        return torch.device(kind)
    return torch.device(kind, device) if isinstance(device, int) else torch.device(device)


def _rebuilt_mapping(original: Mapping[Any, Any], contents: dict[Any, Any]) -> Any:
    if not isinstance(original, dict):
        return type(original)(contents)  # type: ignore[call-arg]  # a common constructor of mappings
    # A copy keeps attributes such as the factory of a defaultdict.
    rebuilt = copy.copy(original)
    rebuilt.update(contents)
    return rebuilt


def _per_channel(name: str, values: Sequence[float]) -> Tensor:
    if len(values) not in (1, 3):
        raise ArgumentError(
            f'{name} needs 3 values for colour images or 1 for grey images, got {len(values)}: '
            f'{list(values)}.'
        )
    # Always on the CPU: in a context for the meta device, tensors would have no values.
    numbers = torch.tensor(values, dtype=torch.float32, device='cpu')
    if not bool(numbers.isfinite().all()):
        raise ArgumentError(f'{name} must be finite in each channel, got {list(values)}.')
    if name == 'std' and not bool((numbers > 0).all()):
        raise ArgumentError(
            f'std must be positive in each channel, because images are divided by it; got '
            f'{list(values)}. Use 1 for a channel that needs no scaling.'
        )
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)


def _images_of(batch: Any, owner: str) -> Tensor | list[Tensor]:
    if not isinstance(batch, Mapping) or 'inputs' not in batch:
        got = f'the keys {list(batch)}' if isinstance(batch, Mapping) else type(batch).__name__
        raise (KeyError if isinstance(batch, Mapping) else TypeError)(
            f"{owner} needs a batch dict with the images under 'inputs', got {got}. Make the "
            'dataset return dict(inputs=image, data_samples=...), or use '
            "type='BaseDataPreprocessor', which accepts any batch."
        )
    images: Tensor | list[Tensor] = batch['inputs']
    if isinstance(images, Tensor):
        if images.dim() != 4:
            raise ArgumentError(
                f'{owner} needs an NCHW tensor or a list of CHW tensors, got one tensor of shape '
                f'{tuple(images.shape)}.'
            )
        return images
    if not isinstance(images, (list, tuple)) or not all(
        isinstance(image, Tensor) for image in images
    ):
        kind = (
            f'{type(images).__name__} of {type(images[0]).__name__}'
            if isinstance(images, (list, tuple))
            else type(images).__name__
        )
        raise TypeError(
            f"{owner} needs an NCHW tensor or a list of CHW tensors under 'inputs', got {kind}."
        )
    if not images:
        raise ArgumentError(f'{owner} got an empty list of images.')
    odd = next((image for image in images if image.dim() < 3), None)
    if odd is not None:
        raise ArgumentError(f'{owner} needs images of shape (C, H, W), got {tuple(odd.shape)}.')
    return images


def _named_shape(images: Tensor) -> str:
    holder = 'a batch' if images.dim() == 4 else 'an image'
    return f'{images.shape[-3]} in {holder} of shape {tuple(images.shape)}'
