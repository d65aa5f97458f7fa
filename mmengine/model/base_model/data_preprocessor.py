"""What happens to a batch between the dataloader and ``forward``."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from mmengine.model.utils import padded_size, stack_batch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from mmengine.utils.errors import ArgumentError


@MODELS.register_module()
class BaseDataPreprocessor(nn.Module):
    """Moves a batch to the device of the model it belongs to.

    Subclasses override :meth:`forward` and call :meth:`cast_data` first.

    Args:
        non_blocking: Do not wait for the copies; useful with ``pin_memory`` in the dataloader.
    """

    def __init__(self, non_blocking: bool | None = False) -> None:
        super().__init__()
        self._non_blocking = bool(non_blocking)
        self._device = torch.device('cpu')

    def cast_data(self, data: Any) -> Any:
        """``data`` with every tensor in it on :attr:`device`.

        Mappings, lists, (named) tuples and data elements are rebuilt, so that changing the result
        leaves the dataloader's batch alone; a tensor that is on the device already is passed on as
        it is, and so is any other object.
        """
        device = self._device
        if isinstance(data, dict):
            contents = {}
            for key, value in data.items():
                # The usual batch is a dict of tensors that need not move: it costs one comparison
                # an entry.
                settled = type(value) is Tensor and value.device == device
                contents[key] = value if settled else self.cast_data(value)
            return contents if type(data) is dict else _rebuilt_mapping(data, contents)
        if isinstance(data, Tensor):
            return (
                data if data.device == device else data.to(device, non_blocking=self._non_blocking)
            )
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
        """The batch on the model's device.

        Args:
            data: A batch from the dataloader.
            training: Whether to augment. Means nothing here; subclasses may do so.
        """
        return self.cast_data(data)

    @property
    def device(self) -> torch.device:
        """Where :meth:`cast_data` moves tensors to: wherever this module was moved last."""
        return self._device

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        # Every way of moving a module, its parents' ways included, ends here. What `fn` does to a
        # probe tells the device.
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
    """Makes one normalised float32 NCHW tensor of a batch's images.

    ``data['inputs']`` is a list of CHW images, of any sizes, or an NCHW batch. The steps, in this
    order: to the device, channels, float, normalise, pad on the right and at the bottom to the
    largest image (rounded up to a multiple of ``pad_size_divisor``), stack. ``data_samples`` is set
    to None when the batch has none.

    Args:
        mean: Mean of each channel in the order after the conversion, one value or three. Needs
            ``std`` too.
        std: Standard deviation of each channel, one value or three.
        pad_size_divisor: The height and the width become multiples of this number.
        pad_value: Fills the padding; a value after normalisation.
        bgr_to_rgb: Reverse the three channels.
        rgb_to_bgr: Reverse the three channels. Only one of the two.
        non_blocking: Do not wait for the copies to the device.

    Raises:
        ArgumentError: If only one of mean and std is given, one of them has another length or a
            value that is not finite, a value of std is not positive, both conversions are on, or a
            batch holds images that the settings do not fit.
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
                'bgr_to_rgb and rgb_to_bgr both reverse the channels; switch on the one that says '
                'what the images are.'
            )
        if (mean is None) != (std is None):
            given, absent = ('std', 'mean') if mean is None else ('mean', 'std')
            raise ArgumentError(
                f'Normalising needs both mean and std, but only {given} is given. Add {absent}, '
                f'or drop {given}.'
            )
        if pad_size_divisor < 1:
            raise ArgumentError(f'pad_size_divisor has to be at least 1, got {pad_size_divisor}.')
        self._channel_conversion = bgr_to_rgb or rgb_to_bgr
        self._enable_normalize = mean is not None
        if mean is not None and std is not None:
            # Not part of the checkpoint: they belong to the config.
            self.register_buffer('mean', _per_channel('mean', mean), persistent=False)
            self.register_buffer('std', _per_channel('std', std), persistent=False)
        self.pad_size_divisor = pad_size_divisor
        self.pad_value = pad_value

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """The batch with its images as one tensor under ``inputs``, all of it on the device.

        Args:
            data: A batch with the key ``inputs``.
            training: Means nothing here; subclasses augment when it is on.
        """
        batch: dict[str, Any] = self.cast_data(data)
        images = _images_of(batch, type(self).__name__)
        if isinstance(images, Tensor):
            batch['inputs'] = self._pad(self._normalize(images))
        elif all(
            image.shape == images[0].shape and image.dtype == images[0].dtype for image in images
        ):
            # One kernel a step for the whole batch; the values are those of normalising image by
            # image.
            batch['inputs'] = self._pad(self._normalize(torch.stack(images)))
        else:
            batch['inputs'] = stack_batch(
                [self._normalize(image) for image in images], self.pad_size_divisor, self.pad_value
            )
        batch.setdefault('data_samples', None)
        return batch

    def _normalize(self, images: Tensor) -> Tensor:
        """Channels, float, mean and std of images whose channel dim is the third from the right."""
        num_channels = images.shape[-3]
        if self._channel_conversion:
            if num_channels != 3:
                raise ArgumentError(
                    'Only images with 3 channels can change between RGB and BGR, got '
                    f'{_named_shape(images)}.'
                )
            images = images.flip(-3)
        normalized = images.float()
        if not self._enable_normalize:
            return normalized
        num_values = max(self.mean.shape[0], self.std.shape[0])
        if num_values not in (1, num_channels):
            raise ArgumentError(
                f'mean and std hold {num_values} values, so the images need as many '
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
    """The device of ``kind`` that an index, a full name, or None (the current one) means."""
    if device is None:
        return torch.device(kind)
    return torch.device(kind, device) if isinstance(device, int) else torch.device(device)


def _rebuilt_mapping(original: Mapping[Any, Any], contents: dict[Any, Any]) -> Any:
    if not isinstance(original, dict):
        return type(original)(contents)  # type: ignore[call-arg]  # as mappings are built
    # A copy keeps what a constructor would not take, such as the factory of a defaultdict.
    rebuilt = copy.copy(original)
    rebuilt.update(contents)
    return rebuilt


def _per_channel(name: str, values: Sequence[float]) -> Tensor:
    if len(values) not in (1, 3):
        raise ArgumentError(
            f'{name} needs 3 values for colour images or 1 for grey ones, got {len(values)}: '
            f'{list(values)}.'
        )
    # On the CPU also where modules are built on the meta device, whose tensors have no values.
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
            f"{owner} wants a batch dict with the images under 'inputs', got {got}. Let the "
            'dataset return dict(inputs=image, data_samples=...), or use '
            "type='BaseDataPreprocessor', which takes any batch."
        )
    images: Tensor | list[Tensor] = batch['inputs']
    if isinstance(images, Tensor):
        if images.dim() != 4:
            raise ArgumentError(
                f'{owner} wants an NCHW tensor or a list of CHW tensors, got one tensor of shape '
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
            f"{owner} wants an NCHW tensor or a list of CHW tensors under 'inputs', got {kind}."
        )
    if not images:
        raise ArgumentError(f'{owner} got an empty list of images.')
    odd = next((image for image in images if image.dim() < 3), None)
    if odd is not None:
        raise ArgumentError(f'{owner} wants images of shape (C, H, W), got {tuple(odd.shape)}.')
    return images


def _named_shape(images: Tensor) -> str:
    holder = 'a batch' if images.dim() == 4 else 'an image'
    return f'{images.shape[-3]} in {holder} of shape {tuple(images.shape)}'
