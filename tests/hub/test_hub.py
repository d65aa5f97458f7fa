"""Configs and models of an installed package."""

import sys

import pytest
import torch
from torch import nn

from mmengine.config._reading.packages import package_folder
from mmengine.hub import get_config, get_model
from mmengine.registry import MODELS, DefaultScope
from mmengine.testing._internal.model_zoo import served, write_package

REGISTRY = """
from torch import nn
from mmengine.registry import MODELS as ROOT
from mmengine.registry import Registry

MODELS = Registry('model', parent=ROOT, scope='hubzoo')
"""

UTILS = """
from torch import nn
from ..registry import MODELS

def register_all_modules(init_default_scope=True):
    assert not init_default_scope

    @MODELS.register_module(force=True)
    class Tiny(nn.Module):
        def __init__(self, width=2, data_preprocessor=None, extra=None):
            super().__init__()
            self.layer = nn.Linear(width, width)
            self.told = (data_preprocessor, extra)
"""

CONFIG = """
default_scope = 'hubzoo'
model = dict(type='Tiny', width=3)
data_preprocessor = dict(type='Shift')
"""


@pytest.fixture
def weights():
    return nn.ModuleDict({'layer': nn.Linear(3, 3)}).state_dict()


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch, weights):
    """An installed package that registers its model when it is told to."""
    (tmp_path / 'served').mkdir()
    torch.save({'state_dict': weights}, tmp_path / 'served' / 'tiny.pth')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    package_folder.cache_clear()
    with served(tmp_path / 'served') as url:
        tiny = {'Name': 'tiny', 'Config': 'configs/tiny/tiny.py', 'Weights': f'{url}/tiny.pth'}
        bare = {'Name': 'bare', 'Config': 'configs/tiny/bare.py'}
        index = write_package(
            tmp_path / 'site',
            'hubzoo',
            {'tiny/tiny.py': CONFIG, 'tiny/bare.py': "_base_ = 'tiny.py'", 'tiny/hidden.py': ''},
            {'tiny/metafile.yml': [tiny, bare]},
        )
        (index.parent / 'registry.py').write_text(REGISTRY)
        (index.parent / 'utils').mkdir()
        (index.parent / 'utils' / '__init__.py').write_text(UTILS)
        monkeypatch.syspath_prepend(str(tmp_path / 'site'))
        yield url
    package_folder.cache_clear()
    for name in [name for name in sys.modules if name.partition('.')[0] == 'hubzoo']:
        del sys.modules[name]
    MODELS.children.pop('hubzoo', None)


def test_a_config_is_found_by_package_and_path():
    cfg = get_config('hubzoo::tiny/tiny.py')
    assert cfg.model == {'type': 'Tiny', 'width': 3}
    assert 'model_path' not in cfg
    assert get_config('hubzoo::tiny/bare.py').model.width == 3


def test_pretrained_config_tells_the_weights(package):
    assert get_config('hubzoo::tiny/tiny.py', pretrained=True).model_path == f'{package}/tiny.pth'


@pytest.mark.parametrize(
    ('name', 'kind', 'message'),
    [
        ('tiny/tiny.py', ValueError, "'package::path/to/file.py'"),
        ('hubzoo::tiny/none.py', FileNotFoundError, "no config file 'tiny/none.py'"),
        ('no_such_zoo::tiny/tiny.py', ImportError, 'pip install no_such_zoo'),
    ],
)
def test_names_that_lead_nowhere_are_refused(name, kind, message):
    with pytest.raises(kind, match=message):
        get_config(name)
    with pytest.raises(kind, match=message):
        get_model(name)


def test_weights_that_are_not_published_are_refused():
    with pytest.raises(ValueError, match=r'no Weights for tiny/bare\.py'):
        get_config('hubzoo::tiny/bare.py', pretrained=True)
    with pytest.raises(KeyError, match=r'lists no config'):
        get_config('hubzoo::tiny/hidden.py', pretrained=True)


def test_a_model_is_built_in_the_scope_of_its_package():
    model = get_model('hubzoo::tiny/tiny.py')
    assert type(model).__name__ == 'Tiny'
    assert model.layer.in_features == 3
    assert model.told == ({'type': 'Shift'}, None)
    assert model.training
    assert DefaultScope.get_current_instance() is None


def test_arguments_fill_in_what_the_config_leaves_open():
    model = get_model('hubzoo::tiny/tiny.py', extra=1, width=7)
    assert model.told[1] == 1
    assert model.layer.in_features == 3


def test_a_pretrained_model_has_the_published_weights(weights):
    model = get_model('hubzoo::tiny/tiny.py', pretrained=True)
    assert torch.equal(model.layer.weight, weights['layer.weight'])
    assert torch.equal(model.layer.bias, weights['layer.bias'])
