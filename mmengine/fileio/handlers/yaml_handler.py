"""YAML. Loading a file makes plain values only: it never looks up a name that the file has."""

from functools import cache
from typing import IO, Any

import numpy as np

from mmengine.fileio.handlers.base import BaseFileHandler
from mmengine.utils._plain_yaml import read_yaml


class YamlHandler(BaseFileHandler):
    """YAML files."""

    def load_from_fileobj(self, file: IO[Any], **kwargs: Any) -> Any:
        """Read the object in an open file.

        Args:
            file: The file.
            kwargs: ``Loader`` of PyYAML; by default one that makes plain values and tuples.
                For a trusted file with other objects, pass
                ``Loader=yaml.UnsafeLoader``.

        Raises:
            yaml.YAMLError: As :func:`~mmengine.utils._plain_yaml.read_yaml`.
        """
        if kwargs.get('Loader') is None:
            return read_yaml(file.read())
        import yaml

        return yaml.load(file, **kwargs)

    def dump_to_fileobj(self, obj: Any, file: IO[Any], **kwargs: Any) -> None:
        """Write an object to an open file; ``kwargs`` go to ``yaml.dump``."""
        import yaml

        yaml.dump(obj, file, **{'Dumper': _dumper(), **kwargs})

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        """An object as text; ``kwargs`` go to ``yaml.dump``."""
        import yaml

        return str(yaml.dump(obj, **{'Dumper': _dumper(), **kwargs}))


@cache
def _dumper() -> Any:
    """PyYAML's dumper, which writes NumPy's numbers and arrays as plain numbers and lists."""
    import yaml

    class Dumper(getattr(yaml, 'CDumper', yaml.Dumper)):  # type: ignore[misc]  # chosen at run time
        pass

    def as_plain(dumper: Any, value: Any) -> Any:
        return dumper.represent_data(value.tolist())

    Dumper.add_multi_representer(np.ndarray, as_plain)
    Dumper.add_multi_representer(np.generic, as_plain)
    return Dumper
