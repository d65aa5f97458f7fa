"""Warnings of a run, as a list, and a visualizer that leaves no file open."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmengine.logging import MMLogger

# A test sends nothing to anybody; these are read when the packages are imported.
os.environ['MLFLOW_DISABLE_TELEMETRY'] = 'true'
os.environ['WANDB_ERROR_REPORTING'] = 'false'


@pytest.fixture
def warned(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What has been logged as a warning since the test began."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, entry: logging.LogRecord) -> None:
            if entry.levelno >= logging.WARNING:
                messages.append(entry.getMessage())

    logger = MMLogger.get_instance(request.node.name)
    handler = Keep()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


@pytest.fixture
def read_lines() -> Callable[[Path], list[dict[str, Any]]]:
    """The records of a file, parsed by a reader that takes no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f'{constant} is no JSON')

    def read(path: Path) -> list[dict[str, Any]]:
        lines = path.read_text().splitlines()
        return [json.loads(line, parse_constant=refuse) for line in lines]

    return read
