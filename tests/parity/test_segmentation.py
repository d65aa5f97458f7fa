"""A segmentation of 60 iterations with three validations has the API's numbers, to the last bit.

``data/segmentation_by_api.json`` is what ``segmentation_run.py`` wrote down under mmengine 0.10.7
of PyPI. Two switches give the draws of the API: samples that are augmented from the generators of
the process, and validations that use these up too.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
EXPECTED: dict[str, Any] = json.loads((HERE / 'data' / 'segmentation_by_api.json').read_text())
AS_THE_API = {'seed': 0, 'per_sample': False, 'restore_after_val': False}


def _numbers(entry: dict[str, str]) -> dict[str, float]:
    return {key: float.fromhex(text) for key, text in entry.items() if key != 'order'}


def test_the_run_has_the_numbers_of_the_api(tmp_path: Path) -> None:
    out = tmp_path / 'out.json'
    script = [HERE / 'segmentation_run.py', out, tmp_path / 'work_dir', json.dumps(AS_THE_API)]
    subprocess.run(
        [sys.executable, *map(str, script)], check=True, capture_output=True, timeout=300
    )
    found = json.loads(out.read_text())
    assert [step['order'] for step in found['steps']] == [
        step['order'] for step in EXPECTED['steps']
    ]
    if found['made with'] == EXPECTED['made with']:
        assert found == EXPECTED
        return
    # Another processor or torch rounds in its own way; a draw out of order differs by far more.
    for part in ('steps', 'validations'):
        for ours, theirs in zip(found[part], EXPECTED[part], strict=True):
            assert _numbers(ours) == pytest.approx(_numbers(theirs), rel=1e-3)
