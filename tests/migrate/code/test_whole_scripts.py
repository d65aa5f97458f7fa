"""Whole training scripts, migrated by the two commands: they train as under MMCV 1.7.2."""

import importlib
import json
import platform
import shutil
import sys
from pathlib import Path

import pytest
from migrate_code_helpers import HERE
from random_scripts import script

from mmengine.cli.__main__ import main
from mmengine.registry import HOOKS

convert = pytest.importorskip('mmengine.migrate._code.convert')
RECORDED = json.loads((HERE / 'mmcv_code.json').read_text())
SCRIPTS = [name for name in RECORDED if name.startswith('whole/')]
# Processors of other makers fuse a multiplication and an addition elsewhere.
ROUNDING = 0 if platform.machine() == 'x86_64' else 1e-6


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the migrated scripts, importable."""
    root = tmp_path / 'scripts'
    shutil.copytree(HERE / 'scripts', root, ignore=shutil.ignore_patterns('__pycache__'))
    # The hooks are imported when one is asked for.
    for name in ('CheckpointHook', 'LegacyParamSchedulerHook'):
        HOOKS.get(name)
    monkeypatch.setattr(HOOKS, '_module_dict', dict(HOOKS._module_dict))
    config = root / 'config.py'
    new = tmp_path / 'new' / 'config.py'
    # The hook is the project's own, which no rule knows.
    assert main(['migrate', 'config', str(config), '-o', str(new)]) == 1
    config.unlink()
    assert main(['migrate', 'code', str(root), '--write']) == 0
    shutil.copy(new, config)
    monkeypatch.syspath_prepend(str(root))
    yield root
    for name in ('parts', 'by_config', 'by_options', 'by_class'):
        sys.modules.pop(name, None)


@pytest.mark.parametrize('name', SCRIPTS)
def test_a_whole_script_gives_the_numbers_that_mmcv_gave(name, folder, tmp_path):
    script, recorded = name.removeprefix('whole/'), RECORDED[name]
    words = [str(folder / 'config.py')] if script == 'by_config' else []
    work_dir = tmp_path / 'work'
    outcome = importlib.import_module(script).main([*words, '--work-dir', str(work_dir)])

    _compare(outcome, recorded, work_dir)


def _compare(outcome, recorded, work_dir):
    for key, values in recorded['parameters'].items():
        assert outcome['parameters'][key] == pytest.approx(values, rel=ROUNDING, abs=0)
    assert len(outcome['seen']) == len(recorded['seen'])
    for ours, theirs in zip(outcome['seen'], recorded['seen'], strict=True):
        assert (ours[0], ours[3]) == (theirs[0], theirs[3])
        assert ours[1:3] == pytest.approx(theirs[1:3], rel=1e-6)
    assert sorted(path.name for path in Path(work_dir).glob('*.pth')) == recorded['files']


DRAWN = [name for name in RECORDED if name.startswith('drawn/') and 'error' not in RECORDED[name]]


@pytest.mark.parametrize('name', DRAWN)
def test_a_script_drawn_at_random_gives_the_numbers_that_mmcv_gave(name, folder, tmp_path):
    outcome = run_drawn(int(name.removeprefix('drawn/')), tmp_path / 'work')
    if outcome is not None:
        _compare(outcome, RECORDED[name], tmp_path / 'work')


def run_drawn(seed, work_dir):
    """What the script of ``seed`` gives here, once it is migrated; None where that is marked."""
    conversion = convert.convert_source(script(seed))
    if conversion.todo:
        # The epoch of a run of iterations is all that these scripts have to be marked for.
        assert all('counts epochs' in why for _, why in conversion.todo)
        assert 'IterBasedRunner(' in script(seed)
        return None
    space = {'__name__': f'drawn_{seed}'}
    exec(compile(conversion.new, f'<drawn_{seed}>', 'exec'), space)
    return space['main'](['--work-dir', str(work_dir)])
