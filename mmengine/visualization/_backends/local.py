"""The tracker without a service: files in the work dir."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.utils.errors import ArgumentError, ArgumentTypeError

from ._files import JsonLines, json_line
from .base import ENGINE_STEP, BaseVisBackend, force_init_env, require_image


@VISBACKENDS.register_module()
class LocalVisBackend(BaseVisBackend):
    """Tracks a run as files: scalars as JSON lines, the config as Python, images as PNG.

    A scalar that is NaN or infinite is written as ``null``, since JSON has no such numbers: every
    JSON reader can parse every line, and a plot shows a gap.

    Args:
        save_dir: Folder of the files, ``<work_dir>/<timestamp>/vis_data`` in a run.
        img_save_dir: Folder of the images, under ``save_dir``.
        config_save_file: Name of the config's file, ending in ``.py``.
        scalar_save_file: Name of the scalars' file, ending in ``.json``.

    Raises:
        ArgumentError: If a file name has another ending.
        TypeError: If ``save_dir`` is not a path.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> backend = LocalVisBackend(tempfile.mkdtemp())
        >>> backend.add_scalars({'loss': 0.5}, step=10)
        >>> Path(backend.scalar_path).read_text()
        '{"loss": 0.5, "step": 10}\\n'
        >>> backend.close()
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        img_save_dir: str = 'vis_image',
        config_save_file: str = 'config.py',
        scalar_save_file: str = 'scalars.json',
    ) -> None:
        _require_ending('config_save_file', config_save_file, '.py')
        _require_ending('scalar_save_file', scalar_save_file, '.json')
        if not isinstance(save_dir, (str, os.PathLike)):
            raise TypeError(f'LocalVisBackend needs save_dir, a folder, got {save_dir!r}.')
        save_dir = os.fspath(save_dir)
        super().__init__(save_dir)
        self._img_save_dir = os.path.join(save_dir, img_save_dir)
        self._config_save_file = os.path.join(save_dir, config_save_file)
        self._scalars = JsonLines(os.path.join(save_dir, scalar_save_file))
        self._extra_files: dict[str, JsonLines] = {}

    def _init_env(self) -> None:
        os.makedirs(self._save_dir, exist_ok=True)

    @property
    @force_init_env
    def experiment(self) -> 'LocalVisBackend':
        """The tracker itself, because it has no service."""
        return self

    @property
    def scalar_path(self) -> str:
        """The file that contains every scalar."""
        return self._scalars.path

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Write the config to ``config_save_file``.

        Raises:
            TypeError: If ``config`` is not a Config.
        """
        if not isinstance(config, Config):
            raise ArgumentTypeError(f'add_config takes a Config, got {type(config).__name__}.')
        config.dump(self._config_save_file)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write ``<img_save_dir>/<name>_<step>.png``; slashes in ``name`` make folders.

        Raises:
            TypeError: If ``image`` is not a uint8 array.
            ArgumentError: If it has no shape of an image.
            ImportError: If Pillow is missing.
        """
        path = Path(self._img_save_dir, *_inner_parts(f'{name}_{step}.png'))
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_png(path, image)

    @force_init_env
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Write ``{name: value, "step": step}`` as a line."""
        self._scalars.append({name: value, 'step': step})

    @force_init_env
    def add_scalars(
        self,
        scalar_dict: dict[str, Any],
        step: int = 0,
        file_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a log record as a line of the scalars' file, and of ``file_path``.

        Args:
            scalar_dict: Values by name; left unchanged.
            step: The record's step, unless it has one itself.
            file_path: Name of a second file under ``save_dir``, ending in ``.json``.

        Raises:
            TypeError: If ``scalar_dict`` is not a dict.
            ArgumentError: If ``file_path`` has another ending, or is the scalars' file itself.
        """
        if not isinstance(scalar_dict, dict):
            raise ArgumentTypeError(f'add_scalars takes a dict, got {type(scalar_dict).__name__}.')
        # A record with `engine_step` has a `step` of the user, too.
        record = scalar_dict if ENGINE_STEP in scalar_dict else {'step': step} | scalar_dict
        if 'step' not in scalar_dict:
            record['step'] = record.pop('step')
        line = json_line(record)
        self._scalars.append_line(line)
        if file_path is not None:
            self._extra_file(file_path).append_line(line)

    def _extra_file(self, file_path: str) -> JsonLines:
        known = self._extra_files.get(file_path)
        if known is not None:
            return known
        _require_ending('file_path', file_path, '.json')
        path = os.path.join(self._save_dir, file_path)
        if path == self._scalars.path:
            raise ArgumentError(
                f'file_path={file_path!r} is the file that every record goes to: name another one.'
            )
        self._extra_files[file_path] = JsonLines(path)
        return self._extra_files[file_path]

    def close(self) -> None:
        """Close the files; a later record opens them again."""
        for file in (self._scalars, *self._extra_files.values()):
            file.close()


def _require_ending(argument: str, name: str, ending: str) -> None:
    if not str(name).endswith(ending):
        raise ArgumentError(f'LocalVisBackend needs {argument} to end in {ending}, got {name!r}.')


def _inner_parts(name: str) -> list[str]:
    # Names often come from paths in a dataset; the image must still be in the folder of images.
    path = Path(name)
    return [part for part in path.parts if part not in (path.anchor, '..')]


def _write_png(path: Path, image: np.ndarray) -> None:
    require_image(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            'Writing images needs Pillow. Install it with: pip install pillow'
        ) from error
    Image.fromarray(image).save(path)
