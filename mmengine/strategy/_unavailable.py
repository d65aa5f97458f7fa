"""The error of strategies that have their names and arguments, but cannot place a model yet."""

from importlib.util import find_spec
from typing import NoReturn


def raise_unavailable(strategy: type, package: str | None = None) -> NoReturn:
    """Tell that ``strategy`` cannot be used, before a run spends time on anything else.

    Args:
        strategy: The class.
        package: What it needs beside torch.

    Raises:
        ImportError: If ``package`` is missing.
        NotImplementedError: Otherwise.
    """
    name = strategy.__name__
    advice = (
        'Use DDPStrategy where the model fits on one device. Sharded strategies are not '
        'implemented yet.'
    )
    if package is not None and find_spec(package) is None:
        raise ImportError(f'{name} needs {package} (pip install {package}), and more: {advice}')
    raise NotImplementedError(f'{name} cannot place a model yet. {advice}')
