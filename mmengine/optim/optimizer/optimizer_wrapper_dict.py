"""OptimWrapperDict: several optimizers of one model by name, for a GAN, for example."""

from __future__ import annotations

import logging
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from torch import Tensor, nn

from mmengine.logging import MessageHub, print_log
from mmengine.optim.optimizer._run import OptimizerRun, logger_of
from mmengine.optim.optimizer.optimizer_wrapper import OptimWrapper
from mmengine.utils.errors import ArgumentError, did_you_mean


class OptimWrapperDict(OptimWrapper):
    """Optimizer wrappers by name, each with its own accumulation, clipping and precision.

    The model's ``train_step`` passes each loss to one of the wrappers::

        with optim_wrapper['generator'].optim_context(model):
            loss = ...
        optim_wrapper['generator'].update_params(loss)

    Methods that need one optimizer, such as ``update_params``, raise ``NotImplementedError`` here.
    Other methods apply to all wrappers: learning rates, state, ``zero_grad``, the position of the
    run.

    Args:
        optim_wrapper_dict: The wrappers, by name.

    Raises:
        ArgumentError: If a value is not an :class:`OptimWrapper`.
    """

    def __init__(self, **optim_wrapper_dict: OptimWrapper) -> None:
        # The base class is not initialized, because it needs one optimizer.
        for name, wrapper in optim_wrapper_dict.items():
            if not isinstance(wrapper, OptimWrapper):
                raise ArgumentError(
                    f'OptimWrapperDict needs OptimWrapper objects, got {type(wrapper).__name__} '
                    f'for {name!r}.'
                )
        self.optim_wrappers = optim_wrapper_dict

    # As a dict

    def __getitem__(self, key: str) -> OptimWrapper:
        if key not in self.optim_wrappers:
            raise ArgumentError(
                f'There is no optimizer wrapper named {key!r}; the names are '
                f'{", ".join(self.optim_wrappers)}.' + did_you_mean(str(key), self.optim_wrappers)
            )
        return self.optim_wrappers[key]

    def __contains__(self, key: object) -> bool:
        return key in self.optim_wrappers

    def __iter__(self) -> Iterator[str]:
        return iter(self.optim_wrappers)

    def __len__(self) -> int:
        return len(self.optim_wrappers)

    def keys(self) -> KeysView[str]:
        """Names of the wrappers."""
        return self.optim_wrappers.keys()

    def values(self) -> ValuesView[OptimWrapper]:
        """The wrappers."""
        return self.optim_wrappers.values()

    def items(self) -> ItemsView[str, OptimWrapper]:
        """Pairs of name and wrapper."""
        return self.optim_wrappers.items()

    # Methods for all wrappers

    def zero_grad(self, **kwargs: Any) -> None:
        """Clear the gradients of all wrapped parameters."""
        for wrapper in self.values():
            wrapper.zero_grad(**kwargs)

    def initialize_count_status(self, model: nn.Module, cur_iter: int, max_iters: int) -> None:
        """Set the start and the end of the run in each wrapper."""
        for wrapper in self.values():
            wrapper.initialize_count_status(model, cur_iter, max_iters)

    def attach_run(self, run: OptimizerRun) -> None:
        """Attach each wrapper to ``run``."""
        self._run = run
        for wrapper in self.values():
            wrapper.attach_run(run)

    @property
    def message_hub(self) -> MessageHub:
        """The message hub of the run; assigning it changes every wrapper."""
        return self._run.message_hub if self._assigned_hub is None else self._assigned_hub

    @message_hub.setter
    def message_hub(self, hub: MessageHub) -> None:
        self._assigned_hub = hub
        for wrapper in self.values():
            wrapper.message_hub = hub

    def flush(self) -> bool:
        """Step for the windows that are still open; see :meth:`OptimWrapper.flush`."""
        flushed = [wrapper.flush() for wrapper in self.values()]
        return any(flushed)

    @property
    def param_groups(self) -> dict[str, list[dict[str, Any]]]:  # type: ignore[override]  # by name, as the API has it
        """Parameter groups of each wrapper, by its name."""
        return {name: wrapper.param_groups for name, wrapper in self.items()}

    @property
    def defaults(self) -> dict[str, dict[str, Any]]:
        """Option defaults of each wrapper's optimizer, by its name."""
        return {name: wrapper.defaults for name, wrapper in self.items()}

    @property
    def skip_non_finite(self) -> bool:
        """Whether all wrappers skip non-finite losses; assigning it changes every wrapper."""
        return all(wrapper.skip_non_finite for wrapper in self.values())

    @skip_non_finite.setter
    def skip_non_finite(self, value: bool) -> None:
        for wrapper in self.values():
            wrapper.skip_non_finite = value

    def get_lr(self) -> dict[str, list[float]]:
        """Learning rates under ``<name>.lr``, and ``<name>.base_lr`` if a wrapper has it."""
        return {
            f'{name}.{key}': rates
            for name, wrapper in self.items()
            for key, rates in wrapper.get_lr().items()
        }

    def leading_lr(self) -> dict[str, float]:
        """The first learning rate of each wrapper, under the names of :meth:`get_lr`."""
        if getattr(self.get_lr, '__func__', None) is not OptimWrapperDict.get_lr:
            return {name: rates[0] for name, rates in self.get_lr().items()}
        return {
            f'{name}.{key}': rate
            for name, wrapper in self.items()
            for key, rate in wrapper.leading_lr().items()
        }

    def get_momentum(self) -> dict[str, list[float]]:
        """Momenta under ``<name>.momentum``."""
        return {
            f'{name}.{key}': momenta
            for name, wrapper in self.items()
            for key, momenta in wrapper.get_momentum().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """The state of each wrapper, by its name."""
        return {name: wrapper.state_dict() for name, wrapper in self.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of :meth:`state_dict`; for a wrapper without a state, only warn.

        Args:
            state_dict: The states, by name.

        Raises:
            ArgumentError: If there is a state for a wrapper that does not exist.
        """
        for name, wrapper in self._wrappers_in(state_dict):
            wrapper.load_state_dict(state_dict[name])

    def own_state_dict(self) -> dict[str, Any]:
        """The state of each wrapper by name, without the state of its optimizer."""
        return {name: wrapper.own_state_dict() for name, wrapper in self.items()}

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of :meth:`own_state_dict`; see :meth:`load_state_dict`.

        Args:
            state: The states, by name.

        Raises:
            ArgumentError: If there is a state for a wrapper that does not exist.
        """
        for name, wrapper in self._wrappers_in(state):
            wrapper.load_own_state_dict(state[name])

    def _wrappers_in(self, state_dict: dict[str, Any]) -> list[tuple[str, OptimWrapper]]:
        for name in state_dict:
            if name not in self:
                raise ArgumentError(
                    f'The state dict has a state for {name!r}, but the optimizer wrappers are '
                    f'{", ".join(self)}.' + did_you_mean(str(name), self)
                )
        for name in self:
            if name not in state_dict:
                print_log(
                    f'The state dict has no state for the optimizer wrapper {name!r}, so this '
                    'wrapper starts from its initial state.',
                    logger=logger_of(self._run),
                    level=logging.WARNING,
                )
        return [(name, wrapper) for name, wrapper in self.items() if name in state_dict]

    @property
    def num_steps(self) -> int:  # type: ignore[override]  # each wrapper has its own number
        """Number of steps of the optimizer that has taken most."""
        return max((wrapper.num_steps for wrapper in self.values()), default=0)

    # Methods that need one wrapper

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Not available for all at once: a loss belongs to one wrapper."""
        self._refuse('update_params')

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Not available for all at once: a loss belongs to one wrapper."""
        self._refuse('backward')

    def step(self, **kwargs: Any) -> None:
        """Not available for all at once: each wrapper has its own windows."""
        self._refuse('step')

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Not available for all at once: a loss belongs to one wrapper."""
        self._refuse('scale_loss')

    def should_update(self) -> bool:
        """Not available for all at once: each wrapper has its own windows."""
        self._refuse('should_update')

    def should_sync(self) -> bool:
        """Not available for all at once: each wrapper has its own windows."""
        self._refuse('should_sync')

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Not available for all at once: each wrapper has its own windows and precision."""
        self._refuse('optim_context')

    @property
    def inner_count(self) -> int:
        """Not available for all at once: each wrapper counts its own batches."""
        self._refuse('inner_count')

    def _refuse(self, member: str) -> NoReturn:
        name = next(iter(self), 'name')
        raise NotImplementedError(
            f'OptimWrapperDict does not support {member} for {len(self)} optimizers at once; '
            f'use one of its wrappers: optim_wrapper[{name!r}].{member}'
        )

    def __repr__(self) -> str:
        return '\n'.join(f'name: {name}\n{wrapper!r}' for name, wrapper in self.items())


def wrappers_of(optim_wrapper: Any) -> list[Any]:
    """The wrappers in an ``OptimWrapperDict``, or a list with the given single wrapper."""
    if isinstance(optim_wrapper, OptimWrapperDict):
        return list(optim_wrapper.values())
    return [optim_wrapper]
