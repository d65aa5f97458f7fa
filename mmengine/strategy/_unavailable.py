"""The error of strategies that are declared, but not implemented yet."""

from importlib.util import find_spec
from typing import NoReturn


def raise_unavailable(strategy: type, package: str | None = None) -> NoReturn:
    """Raise the error that ``strategy`` cannot be used; called before the run does other work.

    Args:
        strategy: The strategy class.
        package: The package that it needs in addition to torch.

    Raises:
        ImportError: If ``package`` is not installed.
        NotImplementedError: Otherwise.
    """
    name = strategy.__name__
    advice = (
        'Use DDPStrategy where the model fits on one device, and FSDPStrategy where it does not.'
    )
    if package is not None and find_spec(package) is None:
        raise ImportError(f'{name} needs {package} (pip install {package}), and more: {advice}')
    raise NotImplementedError(f'{name} cannot place a model yet. {advice}')
