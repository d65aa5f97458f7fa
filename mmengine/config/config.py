"""Config: the content of config files, with their text and path."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config._lazy.lazy_style import load_lazy, read_base
from mmengine.config._merge import nested_options, overlay_options
from mmengine.config._origin.places import source_location
from mmengine.config._reading.defined import ConfigFinder
from mmengine.config._reading.paths import DATA_SUFFIXES, PYTHON_SUFFIXES, checked_path
from mmengine.config._reading.source import Source, read_source
from mmengine.config._reading.styles import assigns_base, lazy_sign
from mmengine.config._reading.text_style import TextLoader
from mmengine.config._writing.data_text import json_text, yaml_text
from mmengine.config._writing.python_text import python_text
from mmengine.config.cli import DictAction, add_args, config_argument
from mmengine.config.config_dict import ConfigDict, as_plain
from mmengine.config.errors import (
    ConfigFormatError,
    ConfigImportError,
    ConfigKeyError,
    ConfigSyntaxError,
    ConfigTypeError,
)
from mmengine.config.lazy import LazyAttr, LazyObject, dotted_name
from mmengine.fileio import atomic_write
from mmengine.utils import import_modules_from_strings

RESERVED_KEYS = ('filename', 'text', 'pretty_text', 'env_variables')


class Config:
    """The content of a config file, read like a :class:`ConfigDict`, and the file it came from.

    Args:
        cfg_dict: The content.
        cfg_text: The text it was read from; read from ``filename`` when None.
        filename: Where it was read from.
        env_variables: The environment variables that the files used, with their values.
        format_python_code: Kept for compatibility; formatting is always on.

    Raises:
        TypeError: If ``cfg_dict`` is not a dict.
        ConfigKeyError: If a key is the name of an attribute of every config, such as ``filename``.

    Example:
        >>> cfg = Config(dict(model=dict(type='ResNet', depth=50)))
        >>> cfg.merge_from_dict({'model.depth': 101})
        >>> print(cfg.pretty_text, end='')
        model = dict(type='ResNet', depth=101)
    """

    _cfg_dict: ConfigDict
    _filename: str | None
    _text: str
    _env_variables: dict[str, str]
    _format_python_code: bool
    _imported: dict[str, LazyObject | LazyAttr]

    def __init__(
        self,
        cfg_dict: dict[str, Any] | None = None,
        cfg_text: str | None = None,
        filename: str | Path | None = None,
        env_variables: dict[str, str] | None = None,
        format_python_code: bool = True,
    ) -> None:
        if cfg_dict is not None and not isinstance(cfg_dict, dict):
            raise ConfigTypeError(f'cfg_dict must be a dict, got {type(cfg_dict).__name__}')
        content = cfg_dict if isinstance(cfg_dict, ConfigDict) else ConfigDict(cfg_dict)
        _refuse_reserved_keys(content)
        name = str(filename) if isinstance(filename, Path) else filename
        if cfg_text is None:
            cfg_text = Path(name).read_text(encoding='utf-8') if name else ''
        self.__setstate__((content, name, cfg_text, env_variables or {}, format_python_code, {}))

    # Loading

    @staticmethod
    def fromfile(
        filename: str | Path,
        use_predefined_variables: bool = True,
        import_custom_modules: bool = True,
        use_environment_variables: bool = True,
        lazy_import: bool | None = None,
        format_python_code: bool = True,
    ) -> Config:
        """Load a config file and everything it inherits from.

        Args:
            filename: A .py, .json, .yaml or .yml file.
            use_predefined_variables: Fill in ``{{ fileDirname }}`` and the other file variables.
            import_custom_modules: Import what ``custom_imports`` names.
            use_environment_variables: Fill in ``{{ $NAME:default }}``.
            lazy_import: True for lazy style (``read_base()``), False for text style (``_base_``,
                imports done at once). None: the file decides.
            format_python_code: Kept for compatibility.

        Raises:
            ConfigError: If one of the files is wrong. The message is one line, and it is also the
                fitting builtin error (``FileNotFoundError``, ``SyntaxError``, ``KeyError`` ...).
        """
        path = checked_path(filename)
        source = read_source(path, label=str(filename))
        loader = TextLoader(use_predefined_variables, use_environment_variables, lazy_import)
        cfg = _load(source, loader, str(filename), format_python_code)
        if import_custom_modules:
            run_custom_imports(cfg)
        return cfg

    @staticmethod
    def fromstring(cfg_str: str, file_format: str) -> Config:
        """A config from the text of a config file.

        Args:
            cfg_str: The text.
            file_format: '.py', '.json', '.yaml' or '.yml'.

        Raises:
            ConfigError: As :meth:`fromfile`.
        """
        if file_format not in PYTHON_SUFFIXES + DATA_SUFFIXES:
            raise ConfigFormatError(
                f"file_format is '.py', '.json', '.yaml' or '.yml', got {file_format!r}"
            )
        # Base files are looked up in the working directory.
        source = Source(Path.cwd() / f'<string>{file_format}', cfg_str, label='<string>')
        cfg = _load(source, TextLoader(), None, True)
        run_custom_imports(cfg)
        return cfg

    @staticmethod
    def auto_argparser(description: str | None = None) -> tuple[argparse.ArgumentParser, Config]:
        """A parser for the config on the command line and all its entries, and that config."""
        cfg = Config.fromfile(config_argument())
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument('config', help='config file path')
        return add_args(parser, cfg._cfg_dict), cfg

    # Reading and changing

    @property
    def filename(self) -> str | None:
        """The file's name as it was given; None for a config made by code. Can be assigned."""
        return self._filename

    @property
    def text(self) -> str:
        """The text of the file and of its base files."""
        return self._text

    @property
    def env_variables(self) -> dict[str, str]:
        """The environment variables that the files used, with their values."""
        return self._env_variables

    @property
    def pretty_text(self) -> str:
        """The whole config as Python that loads to an equal config."""
        return python_text(self._cfg_dict)

    def merge_from_dict(self, options: dict[str, Any], allow_list_keys: bool = True) -> None:
        """Merge options into the config.

        Args:
            options: Values by dotted keys: ``{'model.backbone.depth': 50}``. A dict is merged into
                the existing one, unless it contains ``_delete_=True``.
            allow_list_keys: Read digits as indices of lists: ``{'pipeline.0.type': 'LoadImage'}``.

        Raises:
            ConfigKeyError: If a list has no such index, or a key is reserved.
            ConfigTypeError: If a key leads into something that is not a dict or list.
        """
        nested = nested_options(options)
        merged = overlay_options(self._cfg_dict, nested, allow_list_keys=allow_list_keys)
        _refuse_reserved_keys(merged)
        object.__setattr__(self, '_cfg_dict', merged)

    def to_dict(self, keep_imported: bool = False) -> dict[str, Any]:
        """Plain dicts, lists and tuples; lazy names become their import paths.

        Args:
            keep_imported: Also list the names that a lazy-style file imported.
        """
        imported = (
            {name: dotted_name(value) for name, value in self._imported.items()}
            if keep_imported
            else {}
        )
        return {**imported, **as_plain(self._cfg_dict)}

    def __getattr__(self, name: str) -> Any:
        # Before __setstate__ (while copying or unpickling) there is no content yet.
        if name.startswith('__') or name == '_cfg_dict':
            raise AttributeError(name)
        return getattr(self._cfg_dict, name)

    def __getitem__(self, name: str) -> Any:
        return self._cfg_dict[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'filename':
            self.__dict__['_filename'] = str(value) if isinstance(value, Path) else value
        else:
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name in RESERVED_KEYS:
            raise _reserved_key(name, self._cfg_dict)
        self._cfg_dict[name] = value

    def __delattr__(self, name: str) -> None:
        delattr(self._cfg_dict, name)

    def __delitem__(self, name: str) -> None:
        del self._cfg_dict[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cfg_dict)

    def __len__(self) -> int:
        return len(self._cfg_dict)

    def __contains__(self, name: object) -> bool:
        return name in self._cfg_dict

    def __eq__(self, other: object) -> bool:
        return self._cfg_dict == other._cfg_dict if isinstance(other, Config) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable, as dicts are

    def __repr__(self) -> str:
        return f'Config (path: {self._filename}): {self._cfg_dict!r}'

    # Copying and writing

    def copy(self) -> Config:
        """A config whose nested dicts are shared with this one."""
        content, *rest = self.__getstate__()
        return _from_state(type(self), (content.copy(), *rest))

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Config:
        from copy import deepcopy

        return _from_state(type(self), deepcopy(self.__getstate__(), memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_state, (type(self), self.__getstate__())

    def __getstate__(self) -> tuple[Any, ...]:
        return tuple(self.__dict__[name] for name in _STATE)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__dict__.update(zip(_STATE, state, strict=True))

    def dump(self, file: str | Path | None = None) -> str | None:
        """Write the config in the format that the suffix of ``file`` names.

        Args:
            file: A .py, .json, .yaml or .yml file, written as by
                :func:`mmengine.fileio.atomic_write`. None returns the text, in the format of the
                file that the config came from.

        Raises:
            ConfigTypeError: If the suffix is another, or a value has no form in JSON or YAML.
            ConfigKeyError: If a reserved key was added to the content, because the written file
                could not be loaded.
        """
        if file is None:
            return self._written_as(Path(self._filename or 'config.py').suffix)
        text = self._written_as(Path(file).suffix)
        with atomic_write(file, 'w') as stream:
            stream.write(text)
        return None

    def _written_as(self, suffix: str) -> str:
        _refuse_reserved_keys(self._cfg_dict)
        if suffix == '.py':
            return self.pretty_text
        if suffix == '.json':
            return json_text(self.to_dict())
        if suffix in ('.yaml', '.yml'):
            return yaml_text(self.to_dict())
        raise ConfigTypeError(f'a config is written to .py, .json, .yaml or .yml, not {suffix!r}')

    @staticmethod
    def diff(cfg1: str | Path | Config, cfg2: str | Path | Config) -> str:
        """A unified diff of two configs, given as files or configs; empty when they are equal."""
        pair = [cfg if isinstance(cfg, Config) else Config.fromfile(cfg) for cfg in (cfg1, cfg2)]
        old, new = (cfg.pretty_text.splitlines() for cfg in pair)
        names = [cfg.filename or '' for cfg in pair]
        return '\n'.join(difflib.unified_diff(old, new, names[0], names[1], lineterm=''))


# Builders ask for a Mapping and take a config wherever they take a dict.
Mapping.register(Config)


_STATE = ('_cfg_dict', '_filename', '_text', '_env_variables', '_format_python_code', '_imported')


def _from_state(kind: type[Config], state: tuple[Any, ...]) -> Config:
    cfg = kind.__new__(kind)
    cfg.__setstate__(state)
    return cfg


def _refuse_reserved_keys(content: ConfigDict) -> None:
    for key in RESERVED_KEYS:
        if key in content:
            raise _reserved_key(key, content)


def _reserved_key(key: str, content: ConfigDict) -> ConfigKeyError:
    place = source_location(content, key)
    return ConfigKeyError(
        f'{f"{place}: " if place else ""}{key!r} is an attribute of every config, so a config '
        'cannot have a key with that name. Rename the key.'
    )


def _load(
    source: Source, loader: TextLoader, filename: str | None, format_python_code: bool
) -> Config:
    tree = _lazy_tree(source, loader.lazy_import) if source.path.suffix == '.py' else None
    if tree is None:
        loaded = loader.load(source)
        text, entries, used = '\n'.join(loaded.texts), loaded.entries, loaded.env_variables
        return Config(entries, text, filename, used, format_python_code)
    module = load_lazy(source, tree)
    cfg = Config(module.entries, source.text, filename, format_python_code=format_python_code)
    cfg.__dict__['_imported'] = module.imported
    return cfg


def _lazy_tree(source: Source, lazy_import: bool | None) -> Any:
    """The syntax tree of a lazy-style file; None for a text-style one."""
    if lazy_import is False:
        return None
    try:
        tree = source.parse()
    except ConfigSyntaxError:
        # Variables in braces may be valid Python only after they are filled in.
        if lazy_import or '{{' not in source.text:
            raise
        return None
    if lazy_import or (lazy_sign(tree) is not None and assigns_base(tree) is None):
        return tree
    source.parsed = tree
    return None


def run_custom_imports(cfg: Config) -> None:
    """Import what the ``custom_imports`` of a config names.

    Raises:
        ConfigTypeError: If it is not written as ``dict(imports=[...])``.
        ConfigImportError: If a module cannot be imported.
    """
    wanted = cfg.get('custom_imports', None)
    if not wanted:
        return
    place = source_location(cfg, 'custom_imports')
    where = f'{place}: ' if place else ''
    if not isinstance(wanted, dict) or 'imports' not in wanted:
        raise ConfigTypeError(
            f"{where}custom_imports is dict(imports=['package.module', ...]), got {wanted!r}"
        )
    try:
        import_modules_from_strings(**wanted)
    except TypeError as error:
        raise ConfigTypeError(f'{where}custom_imports: {error}') from error
    except ImportError as error:
        raise ConfigImportError(
            f'{where}custom_imports: {error}. The folder that holds the package must be on '
            'PYTHONPATH.'
        ) from error


def _lazy2string(cfg_dict: Any, dict_type: type[dict[Any, Any]] | None = None) -> Any:
    """``cfg_dict`` with lazy names as import paths, its dicts of ``dict_type`` unless None."""
    if isinstance(cfg_dict, dict):
        kind = type(cfg_dict) if dict_type is None else dict_type
        return kind({key: _lazy2string(value, dict_type) for key, value in dict.items(cfg_dict)})
    if isinstance(cfg_dict, (list, tuple)):
        items = [_lazy2string(item, dict_type) for item in cfg_dict]
        return items if isinstance(cfg_dict, list) else tuple(items)
    return as_plain(cfg_dict)


__all__ = ['Config', 'ConfigDict', 'DictAction', '_lazy2string', 'add_args', 'read_base']


sys.meta_path.append(ConfigFinder(lambda file: Config.fromfile(file, import_custom_modules=False)))
