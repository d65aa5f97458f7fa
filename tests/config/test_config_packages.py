import importlib

import pytest
import yaml

from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.config._reading.packages import package_folder


@pytest.fixture
def package(tmp_path_factory, monkeypatch):
    """An installed package that ships configs as wheels of the OpenMMLab projects do."""
    site = tmp_path_factory.mktemp('site')
    mim = site / 'mmdet' / '.mim'
    (mim / 'configs' / 'x').mkdir(parents=True)
    (site / 'mmdet' / '__init__.py').write_text('raise RuntimeError("must not be imported")\n')
    (mim / 'configs' / 'x' / 'a.py').write_text(
        "model = dict(type='A', inner=dict(type='B'))\npipeline = [dict(type='C')]\n"
        "t = dict(d=dict(type='D'))\n"
    )
    (mim / 'model-index.yml').write_text(yaml.safe_dump({'Import': ['configs/x/metafile.yml']}))
    model = {'Name': 'a_model', 'Config': 'configs/x/a.py', 'Weights': 'http://w'}
    (mim / 'configs' / 'x' / 'metafile.yml').write_text(yaml.safe_dump({'Models': [model]}))
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    package_folder.cache_clear()
    yield site / 'mmdet'
    package_folder.cache_clear()


def test_a_base_of_another_package_gets_its_scope(write, package):
    cfg = Config.fromfile(
        write('a.py', "_base_ = 'mmdet::x/a.py'\nmodel = dict(n=dict(type='N'))\n")
    )
    assert cfg.to_dict() == {
        'model': {'type': 'A', 'inner': {'type': 'B'}, '_scope_': 'mmdet', 'n': {'type': 'N'}},
        'pipeline': [{'type': 'C', '_scope_': 'mmdet'}],
        't': {'d': {'type': 'D', '_scope_': 'mmdet'}},
    }


def test_a_missing_base_of_another_package(write, package):
    with pytest.raises(FileNotFoundError, match=r"'x/nope.py' of the package 'mmdet'"):
        Config.fromfile(write('a.py', "_base_ = 'mmdet::x/nope.py'\n"))


def test_a_lazy_base_of_another_package(write, package):
    text = (
        'from mmengine.config import read_base\nwith read_base():\n'
        '    from mmdet.configs.x.a import *\n'
    )
    assert Config.fromfile(write('a.py', text)).model.inner.type == 'B'


def test_paths_with_a_package_are_split():
    assert config_utils._get_package_and_cfg_path('mmdet::a/b.py') == ('mmdet', 'a/b.py')
    for wrong in ('a/b.py', 'mmcls::a::b.py', '::b.py', 'foo::b.py'):
        with pytest.raises(ValueError, match=r'package'):
            config_utils._get_package_and_cfg_path(wrong)


def test_the_model_index_is_asked_by_path_or_name(package):
    expected = str(package / '.mim/configs/x/a.py')
    assert config_utils._get_cfg_metainfo(str(package), 'x/a.py')['Weights'] == 'http://w'
    for name in ('x/a.py', 'x/a', 'a_model'):
        assert config_utils._get_external_cfg_path(str(package), name) == expected
    assert config_utils._get_external_cfg_base_path(str(package), 'x/a.py') == expected
    with pytest.raises(ValueError, match=r"Did you mean 'x/a.py'"):
        config_utils._get_cfg_metainfo(str(package), 'x/b.py')


@pytest.mark.parametrize(
    ('name', 'expected'), [('os.path', True), ('math', True), ('torch', False)]
)
def test_standard_modules_are_told_from_others(name, expected):
    assert config_utils._is_builtin_module(name) is expected
