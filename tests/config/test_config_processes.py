"""Configs, and the functions that config files define, in processes started by spawn."""

import pickle

import pytest

from mmengine.config import Config, source_location
from mmengine.testing._internal.start_method import start_method

TEXT = (
    'from collections import OrderedDict\n'
    'from torch.optim import SGD\n'
    'FACTOR = 3\n'
    'def triple(value):\n    return FACTOR * value\n'
    'class Offset:\n    def __call__(self, value):\n        return value + FACTOR\n'
    'loader = dict(collate=triple, offset=Offset, opt=SGD)\n'
)


def use(cfg):
    return cfg.loader.collate(5), cfg.loader.offset()(5), source_location(cfg, 'loader')


def test_another_process_gets_the_config_and_its_functions(write):
    cfg = Config.fromfile(write('a.py', TEXT))
    with start_method().Pool(1) as pool:
        assert pool.apply(use, (cfg,)) == (15, 8, 'a.py:9')


@pytest.mark.parametrize('lazy_import', [None, False])
def test_functions_of_a_config_are_pickled_by_the_file_they_are_in(write, lazy_import):
    text = (
        TEXT.replace('from torch.optim import SGD\n', 'SGD = None\n')
        if lazy_import is False
        else TEXT
    )
    cfg = Config.fromfile(write('a.py', text), lazy_import=lazy_import)
    twin = pickle.loads(pickle.dumps(cfg))
    assert twin.loader.collate is cfg.loader.collate
    assert twin == cfg


def test_a_dumped_config_finds_the_functions_of_the_first_file(write, tmp_path):
    cfg = Config.fromfile(write('a.py', TEXT))
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').loader.collate(5) == 15
