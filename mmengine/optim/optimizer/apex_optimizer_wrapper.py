"""Mixed precision with NVIDIA Apex, for projects that still use it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from torch import Tensor, nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.optim.optimizer.optimizer_wrapper import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class ApexOptimWrapper(OptimWrapper):
    """An :class:`OptimWrapper` over ``apex.amp``. New projects should use ``AmpOptimWrapper``.

    The first call of :meth:`optim_context` passes model and optimizer to ``apex.amp.initialize``. A
    scaler state that was loaded earlier is applied then.

    Args:
        opt_level: Apex's level of mixed precision, ``O0`` to ``O3``.
        loss_scale: ``'dynamic'`` or a fixed scale.
        enabled: Whether Apex is switched on.
        cast_model_type: Passed to ``apex.amp.initialize``, like the following arguments.
        patch_torch_functions: See ``apex.amp.initialize``.
        keep_batchnorm_fp32: See ``apex.amp.initialize``.
        master_weights: See ``apex.amp.initialize``.
        cast_model_outputs: See ``apex.amp.initialize``.
        num_losses: See ``apex.amp.initialize``.
        verbosity: See ``apex.amp.initialize``.
        min_loss_scale: See ``apex.amp.initialize``.
        max_loss_scale: See ``apex.amp.initialize``.
        kwargs: Arguments of :class:`OptimWrapper`.

    Raises:
        ImportError: If Apex is not installed.
    """

    own_state_names: ClassVar[tuple[str, ...]] = (*OptimWrapper.own_state_names, 'apex_amp')

    def __init__(
        self,
        opt_level: str = 'O1',
        loss_scale: float | str | None = 'dynamic',
        enabled: bool | None = True,
        cast_model_type: Any = None,
        patch_torch_functions: bool | None = None,
        keep_batchnorm_fp32: bool | str | None = None,
        master_weights: bool | None = None,
        cast_model_outputs: Any = None,
        num_losses: int = 1,
        verbosity: int = 1,
        min_loss_scale: float | None = None,
        max_loss_scale: float | None = 2.0**24,
        **kwargs: Any,
    ) -> None:
        self._amp = _import_apex_amp()
        super().__init__(**kwargs)
        self._apex_amp_kwargs = dict(
            opt_level=opt_level,
            loss_scale=loss_scale,
            enabled=enabled,
            cast_model_type=cast_model_type,
            patch_torch_functions=patch_torch_functions,
            keep_batchnorm_fp32=keep_batchnorm_fp32,
            master_weights=master_weights,
            cast_model_outputs=cast_model_outputs,
            num_losses=num_losses,
            verbosity=verbosity,
            min_loss_scale=min_loss_scale,
            max_loss_scale=max_loss_scale,
        )
        self._waiting_state: dict[str, Any] | None = None

    @property
    def _is_initialized(self) -> bool:
        return hasattr(self.optimizer, '_amp_stash')

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """:meth:`OptimWrapper.optim_context`; the first call passes ``model`` to Apex."""
        if not self._is_initialized:
            _, self.optimizer = self._amp.initialize(
                unwrap_model(model), self.optimizer, **self._apex_amp_kwargs
            )
            if self._waiting_state is not None:
                self._amp.load_state_dict(self._waiting_state)
                self._waiting_state = None
        return super().optim_context(model)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """:meth:`OptimWrapper.backward` of the loss as scaled by Apex."""
        with self._amp.scale_loss(loss, self.optimizer) as scaled_loss:
            super().backward(scaled_loss, **kwargs)

    def own_state_dict(self) -> dict[str, Any]:
        """:meth:`OptimWrapper.own_state_dict` with Apex's scalers under ``apex_amp``."""
        state = super().own_state_dict()
        if self._is_initialized:
            state['apex_amp'] = self._amp.state_dict()
        return state

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of :meth:`own_state_dict`.

        Args:
            state: The state; left unchanged.
        """
        super().load_own_state_dict(state)
        apex_state = state.get('apex_amp')
        if apex_state is None:
            return
        if self._is_initialized:
            self._amp.load_state_dict(apex_state)
        else:
            self._waiting_state = apex_state


def _import_apex_amp() -> Any:
    try:
        from apex import amp
    except ImportError as error:
        raise ImportError(
            'ApexOptimWrapper needs NVIDIA Apex, which is built from source: '
            "pip install 'git+https://github.com/NVIDIA/apex'. "
            'AmpOptimWrapper trains in mixed precision without Apex.'
        ) from error
    return amp
