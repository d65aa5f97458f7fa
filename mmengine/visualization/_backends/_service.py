"""What trackers have in common that pass a run to the package of a service."""

import importlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils._plain import plain

from .base import BaseVisBackend, force_init_env, take_step, tracker_value


class ServiceVisBackend(BaseVisBackend):
    """A tracker that passes numbers to a package.

    A new one names the package, and defines ``_init_env``, ``_log_numbers``, ``_finish`` and the
    ``add_*`` calls beyond scalars. The package is imported at the first use. A value that is no
    number cannot be plotted: it is left out, and its name is reported once.

    After :meth:`close`, the next call goes on with the same run of the service.

    Args:
        save_dir: Folder for the tracker's files, where it has any.
        init_kwargs: What the package's own set-up call is given.
    """

    takes_axes = True
    _package: ClassVar[str]

    def __init__(
        self, save_dir: str | None = None, init_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(save_dir or '')
        self._init_kwargs = dict(init_kwargs or {})
        self._left_out: set[str] = set()
        self._work_dir: str | None = None
        self._has_failed = False

    @force_init_env
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log one scalar. A value that is not a number is reported once and dropped."""
        self._log_numbers(self._numbers({name: value}), step)

    @force_init_env
    def add_scalars(
        self,
        scalar_dict: dict[str, Any],
        step: int = 0,
        file_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Log the scalars of a record; a ``'step'`` among them stands for ``step``."""
        scalars, step = take_step(scalar_dict, step)
        self._log_numbers(self._numbers(scalars), step)

    def mark_failed(self, error: BaseException) -> None:
        """Let :meth:`close` end the run in the service as failed."""
        self._has_failed = True

    def close(self) -> None:
        """Finish the run in the service, if anything was sent there."""
        if self._env_initialized:
            self._env_initialized = False
            self._finish()

    @abstractmethod
    def _log_numbers(self, numbers: dict[str, int | float], step: int) -> None:
        """Log the scalars of one record, which may be empty."""

    @abstractmethod
    def _finish(self) -> None:
        """End the run in the service."""

    def _import(self, module: str = '') -> Any:
        try:
            return importlib.import_module(module or self._package)
        except ImportError as error:
            raise ImportError(
                f'{type(self).__name__} needs {self._package}. Install it with: '
                f'pip install {self._package} ({error})'
            ) from error

    def _numbers(self, scalars: Mapping[str, Any]) -> dict[str, int | float]:
        numbers = {}
        for name, value in scalars.items():
            number = tracker_value(value)
            if isinstance(number, (int, float)):
                numbers[name] = number
            else:
                self._leave_out(name, f'it takes numbers only, got {value!r}')
        return numbers

    def _leave_out(self, name: str, why: str) -> None:
        if name not in self._left_out:
            self._left_out.add(name)
            print_log(
                f'{type(self).__name__} leaves out {name!r}: {why}.',
                logger='current',
                level='WARNING',
            )

    def _note_work_dir(self, config: Config) -> None:
        """Store the folders of the run's files, for :meth:`_artifacts`."""
        self._work_dir = config.get('work_dir')

    def _artifacts(self, suffixes: str | Sequence[str]) -> Iterator[tuple[Path, Path]]:
        """The files of the work dir with these endings: each path, full and below the folder."""
        folder = self._work_dir or self._save_dir
        if not folder:
            return
        endings = (suffixes,) if isinstance(suffixes, str) else tuple(suffixes)
        for path in sorted(Path(folder).rglob('*')):
            if path.is_file() and path.name.endswith(endings):
                yield path, path.relative_to(folder)

    def _make_folder(self) -> str:
        """The folder for the tracker's files, which now exists."""
        os.makedirs(self._save_dir, exist_ok=True)
        return self._save_dir


def plain_config(config: Config) -> dict[str, Any]:
    """The config as dicts and lists of plain values; other objects as text."""

    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return NotImplemented
        return {str(key): plain(item, convert, str, as_json=True) for key, item in value.items()}

    plain_dict: dict[str, Any] = convert(config.to_dict())
    return plain_dict


def flat_config(config: Config) -> dict[str, Any]:
    """The config as one dict with dotted names, such as ``'model.backbone.depth'``."""
    flat: dict[str, Any] = {}

    def flatten(prefix: str, tree: Mapping[str, Any]) -> None:
        for key, value in tree.items():
            if isinstance(value, Mapping) and value:
                flatten(f'{prefix}{key}.', value)
            else:
                flat[f'{prefix}{key}'] = value

    flatten('', plain_config(config))
    return flat
