"""A whole private project: migrated by the two commands, it trains and tests as under MMCV."""

import json
import platform
import shutil
import sys
from typing import Any

import pytest
import torch
from migrate_code_helpers import HERE

from mmengine.cli.__main__ import main
from mmengine.registry import HOOKS, MODELS, OPTIM_WRAPPERS

pytest.importorskip('libcst')
RECORDED = json.loads((HERE / 'mmcv_code.json').read_text())['project']
# Processors of other makers fuse a multiplication and an addition elsewhere.
ROUNDING = 0 if platform.machine() == 'x86_64' else 1e-6


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder of the migrated project, its modules importable."""
    root = tmp_path / 'project'
    shutil.copytree(HERE / 'project', root)
    for registry in (HOOKS, MODELS, OPTIM_WRAPPERS):
        monkeypatch.setattr(registry, '_module_dict', dict(registry._module_dict))
    before = set(sys.modules)
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    assert main(['migrate', 'code', str(root / 'lines'), '--write']) == 0
    assert main(['migrate', 'code', str(root / 'tools'), '--write']) == 1
    assert main(['migrate', 'config', str(root / 'configs'), '-o', str(root / 'new')]) == 1
    yield root
    for name in set(sys.modules) - before:
        if name.partition('.')[0] in ('lines', 'train', 'test_line'):
            del sys.modules[name]


def _run(path: Any, *words: str) -> Any:
    namespace: dict[str, Any] = {'__name__': path.stem}
    exec(compile(path.read_text(), str(path), 'exec'), namespace)
    return namespace['main'](list(words))


def test_a_migrated_project_trains_and_tests_as_under_mmcv(project, capsys):
    model = _run(project / 'tools/train.py', 'new/line.py', '--work-dir', 'work')
    parameters = [parameter.item() for parameter in model.parameters()]
    assert parameters == pytest.approx(RECORDED['parameters'], rel=ROUNDING, abs=0)

    notes = json.loads((project / 'work/notes.json').read_text())
    assert len(notes) == len(RECORDED['notes']) == 15
    for ours, theirs in zip(notes, RECORDED['notes'], strict=True):
        assert ours[:3] == theirs[:3]
        assert ours[3:] == pytest.approx(theirs[3:], rel=1e-6)

    _run(project / 'tools/test.py', 'new/line.py', 'work/epoch_3.pth', '--out', 'out.json')
    assert json.loads((project / 'out.json').read_text()) == pytest.approx(
        RECORDED['predictions'], rel=ROUNDING, abs=0
    )
    assert 'norm' in ''.join(torch.load('work/epoch_3.pth')['message_hub']['log_scalars'])


WRAPPED = """
from mmcv.parallel import MMDataParallel, MMDistributedDataParallel
from mmcv.runner import EpochBasedRunner


def main(model, optimizer, loader, distributed):
    if distributed:
        find_unused_parameters = False
        model = MMDistributedDataParallel(
            model.cuda(), device_ids=[0], find_unused_parameters=find_unused_parameters)
    else:
        model = MMDataParallel(model.cuda(), device_ids=[0])
    runner = EpochBasedRunner(model, optimizer=optimizer, work_dir='w', max_epochs=2)
    runner.run([loader], [('train', 1)])
"""


def test_a_model_that_was_wrapped_by_hand_is_given_as_it_is_with_a_launcher():
    convert = pytest.importorskip('mmengine.migrate._code.convert')
    new = convert.convert_source(WRAPPED).new
    assert 'Parallel' not in new
    assert "model=model,\n        work_dir='w'" in new
    assert "launcher='pytorch' if distributed else 'none',\n    )\n    runner.train()" in new
    assert 'TODO' not in new
