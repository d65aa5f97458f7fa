"""What becomes of each name that MMCV 1.7.2 had in the parts that are gone."""

import json

import pytest
from migrate_code_helpers import HERE

from mmengine.migrate._code.homes import HOMES, advice_for, home_of, is_gone

NAMES = json.loads((HERE / 'mmcv_code.json').read_text())['names']
# Build tools of compiled operators and names of other processors, which no project of ours needs.
LEFT_ALONE = {
    'BuildExtension', 'CUDAExtension', 'CppExtension', 'IS_IPU_AVAILABLE',
    'DefaultRunnerConstructor', 'torch',
}  # fmt: skip


def _is_told(part: str, name: str) -> bool:
    full = f'mmcv.{part}.{name}'
    return home_of(full) is not None or advice_for(name) != advice_for('no such name')


@pytest.mark.parametrize('part', NAMES)
def test_each_name_has_a_new_home_or_advice(part):
    told = {
        name for name in NAMES[part] if _is_told(part, name) or not is_gone(f'mmcv.{part}.{name}')
    }
    assert set(NAMES[part]) - told <= LEFT_ALONE


def test_the_table_has_no_name_that_mmcv_had_not():
    known = {(part, name) for part, names in NAMES.items() for name in names}
    # Not in the packages themselves, but in modules of theirs.
    deep = {
        ('fileio', 'HardDiskBackend'), ('fileio', 'LmdbBackend'), ('fileio', 'MemcachedBackend'),
        ('fileio', 'PetrelBackend'), ('fileio', 'HTTPBackend'), ('runner', 'ProfilerHook'),
        ('runner', 'EmptyCacheHook'), ('runner', 'get_state_dict'), ('utils', 'TORCH_VERSION'),
    }  # fmt: skip
    of_cnn = {key for key in HOMES if key[0] == 'cnn'}
    assert set(HOMES) - of_cnn - known <= deep


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('mmcv.runner.hooks.hook.HOOKS', ('mmengine.registry', 'HOOKS')),
        ('mmcv.Config', ('mmengine.config', 'Config')),
        ('mmcv.load', ('mmengine.fileio', 'load')),
        ('mmcv.jit', ('mmcv.utils', 'jit')),
        ('mmcv.FileClient.load', None),
        ('mmcv.runner.HOOKS.register_module', None),
        ('mmcv.imread', None),
        ('torch.load', None),
        ('mmcv.cnn.ConvModule', None),
    ],
)
def test_a_full_name_is_found_by_its_part_of_mmcv(old, new):
    assert home_of(old) == new
