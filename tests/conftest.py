"""What every test gets: random numbers, environment and named instances of its own.

Property tests draw the same examples in every run, so that only a change of the code or of the test
makes them fail. ``make soak`` draws new ones and says how to keep an example that fails.
"""

import importlib.util
import logging
import os
import random
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin

# What a shell starts in the background ignores Ctrl-C, and with nohup a lost terminal too.
# Processes that tests start and stop would inherit that.
if threading.current_thread() is threading.main_thread():
    for _name, _handler in (('SIGINT', signal.default_int_handler), ('SIGHUP', signal.SIG_DFL)):
        _number = getattr(signal, _name, None)
        if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
            signal.signal(_number, _handler)


def _fsync(descriptor: int) -> None:
    """Check the descriptor, and leave to the system when its bytes get to the disk.

    Only a loss of power could show the difference; a small run would wait for the disk ten times.
    """
    os.fstat(descriptor)


os.fsync = _fsync

# The smoke tests of the built package run without hypothesis.
if importlib.util.find_spec('hypothesis') is not None:
    from hypothesis import HealthCheck, settings

    # No test fails because the machine is busy.
    _UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile('test', _UNTIMED, derandomize=True, database=None)
    settings.register_profile('soak', _UNTIMED, derandomize=False, print_blob=False)
    settings.load_profile('test')  # --hypothesis-profile of the command line comes later

FROM_FAILURE_TO_EXAMPLE = """\
A property does not hold for newly drawn values. Add them to the test, so that every run tries them:

1. The report above shows them behind 'Failing test case', reduced to the smallest that fail. The
   patch in .hypothesis/patches adds them to the test: git apply .hypothesis/patches/*.patch
2. Or write them below @given by hand: @example(length=1, index=[True]). A test that draws from
   st.data() takes no @example: its values are behind 'Draw 1', and go into a test of their own.
3. Check that `make test` now fails, then fix the code, or the expected value if that is wrong.
"""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the server that forks ranks, if there are any, before a dataloader starts a bare one.

    There is one such server in a process. It imports what ranks need while other tests run.
    """
    if any(item.get_closest_marker('distributed') for item in session.items):
        from mmengine.testing._internal.start_method import start_method

        start_method()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Explain how a failure of `make soak` becomes an example."""
    failed = terminalreporter.stats.get('failed', [])
    drawn_anew = terminalreporter.config.getoption('hypothesis_profile', None) == 'soak'
    if drawn_anew and any('hypothesis' in report.keywords for report in failed):
        terminalreporter.section('how a failure becomes an example')
        terminalreporter.write(FROM_FAILURE_TO_EXAMPLE)


def _manager_classes() -> list[type[ManagerMixin]]:
    found, pending = [], [ManagerMixin]
    while pending:
        for subclass in pending.pop().__subclasses__():
            found.append(subclass)
            pending.append(subclass)
    return found


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    """Put back environment, seeds, default scope and named instances; close log files."""
    environment = dict(os.environ)
    deterministic = torch.are_deterministic_algorithms_enabled()
    default_dtype = torch.get_default_dtype()
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)
    yield
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)
    torch.set_default_dtype(default_dtype)
    for cls in [*_manager_classes(), DefaultScope]:
        for instance in cls.__dict__.get('_instance_dict', {}).values():
            for handler in list(getattr(instance, 'handlers', [])):
                if isinstance(handler, logging.FileHandler):
                    handler.close()
        cls.__dict__.get('_instance_dict', {}).clear()
    assert not torch.distributed.is_initialized(), 'the test left a process group behind'
