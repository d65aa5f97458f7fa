"""CheckpointSettings: what the config key ``checkpoint`` of a run says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.utils.errors import ArgumentError, did_you_mean

_FORMATS = ('file', 'sharded')
_KEYS = ('format', 'async_save')


@dataclass(frozen=True)
class CheckpointSettings:
    """How a run saves its checkpoints.

    Attributes:
        format: ``'file'``: rank 0 writes one file. ``'sharded'``: a folder, of which each rank
            writes its part. None: what the strategy does by itself.
        async_save: Copy a checkpoint to host memory and let threads write it. The default of
            ``async_save`` of ``CheckpointHook``.
    """

    format: str | None = None
    async_save: bool = False

    @classmethod
    def of(cls, given: Any) -> CheckpointSettings:
        """The settings in the config key ``checkpoint``.

        Many configs of projects have a variable of that name: the path of a file, or the config of
        a hook. Such a value sets nothing here.

        Raises:
            ArgumentError: If a dict without ``type`` has an unknown key or a wrong value.
        """
        if not isinstance(given, Mapping) or 'type' in given:
            return cls()
        for key in given:
            if key not in _KEYS:
                raise ArgumentError(
                    f'checkpoint has {key!r}, which has no meaning.'
                    f'{did_you_mean(str(key), _KEYS)} Its keys are {", ".join(_KEYS)}.'
                )
        format, async_save = given.get('format'), given.get('async_save', False)
        if format is not None and format not in _FORMATS:
            raise ArgumentError(
                f'checkpoint has format={format!r}.{did_you_mean(str(format), _FORMATS)} It is '
                f'{" or ".join(map(repr, _FORMATS))}.'
            )
        if not isinstance(async_save, bool):
            raise ArgumentError(f'checkpoint has async_save={async_save!r}. It is True or False.')
        return cls(format, async_save)

    def apply_to(self, strategy: Any) -> None:
        """Let ``strategy`` write checkpoints in the format of the settings.

        Raises:
            ArgumentError: If its engine writes checkpoints in another form.
        """
        if self.format is None:
            return
        if not hasattr(strategy, 'use_checkpoint_format'):
            raise ArgumentError(
                f'{type(strategy).__name__} writes checkpoints in the form of its engine. Remove '
                f'format={self.format!r} from checkpoint.'
            )
        strategy.use_checkpoint_format(self.format)
