"""Scripts that read or write a key of the config that the conversion of configs takes out."""

from textwrap import dedent

import pytest

from mmengine.config import Config
from mmengine.migrate._config import convert_config
from mmengine.migrate._config.convert import LEGACY_KEYS

convert = pytest.importorskip('mmengine.migrate._code.convert')

MARK = 'TODO(mmengine migrate)'
HEAD = "from mmcv import Config\n\ncfg = Config.fromfile('a.py')\n"
LEGACY = dict(
    model=dict(type='Toy'),
    optimizer=dict(type='SGD', lr=0.1),
    total_epochs=2,
    seed=11,
    deterministic=True,
    find_unused_parameters=True,
    mp_start_method='fork',
    dist_params=dict(backend='gloo'),
)
STYLES = {
    'attribute': 'x = cfg.{0}',
    'item': 'x = cfg["{0}"]',
    'get': 'x = cfg.get("{0}")',
    'default': 'x = cfg.get("{0}", 7)',
    'pop': 'x = cfg.pop("{0}")',
    'in': 'x = "{0}" in cfg',
    'not in': 'x = "{0}" not in cfg',
    'keys': 'x = "{0}" in cfg.keys()',
    'hasattr': 'x = hasattr(cfg, "{0}")',
    'getattr': 'x = getattr(cfg, "{0}", None)',
    'truth': 'if cfg.{0}:\n    x = 1',
    'set': 'cfg.{0} = 3',
    'set item': 'cfg["{0}"] = 3',
    'del': 'del cfg.{0}',
    'setattr': 'setattr(cfg, "{0}", 3)',
    'setdefault': 'cfg.setdefault("{0}", 3)',
    'merge': 'cfg.merge_from_dict(dict({0}=3))',
    'merge dict': 'cfg.merge_from_dict({{"{0}": 3}})',
    'update': 'cfg.update(dict({0}=3))',
}


def migrated(lines):
    new = convert.convert_source(HEAD + lines + '\n').new
    assert convert.convert_source(new).new == new
    return new.partition("fromfile('a.py')\n")[2]


def ran(lines, config):
    """``x`` after the migrated lines, with a config as it is after its own conversion."""
    new = migrated(lines)
    assert MARK not in new
    space = {'cfg': config, 'x': None}
    exec(new, space)
    return space['x']


def new_config(**changes):
    return Config(convert_config({**LEGACY, **changes}).config)


@pytest.mark.parametrize('style', STYLES)
def test_no_key_that_a_converted_config_lacks_is_left_as_it_is(style):
    """Keys and styles are all crossed: a new legacy key without an entry here fails."""
    for key in sorted(LEGACY_KEYS):
        lines = STYLES[style].format(key)
        new = migrated(lines)
        assert MARK in new or new.strip() != lines, key


@pytest.mark.parametrize('style', ['attribute', 'item', 'get', 'default', 'pop', 'getattr'])
@pytest.mark.parametrize(
    'key', ['seed', 'deterministic', 'find_unused_parameters', 'mp_start_method', 'dist_params']
)
def test_a_value_that_has_one_new_place_is_read_there(style, key):
    assert ran(STYLES[style].format(key), new_config()) == LEGACY[key]


@pytest.mark.parametrize(
    ('lines', 'expected'),
    [
        ('x = cfg.get("seed", 7)', 7),
        ('x = cfg.get("mp_start_method", 7)', 7),
        ('x = getattr(cfg, "seed", 7)', 7),
        ('x = cfg.pop("seed", 7)', 7),
        ('x = "seed" in cfg', False),
        ('x = "cudnn_benchmark" not in cfg', True),
        ('x = hasattr(cfg, "seed")', False),
        ('x = not hasattr(cfg, "seed")', True),
        ('x = "seed" in cfg.keys()', False),
        ('x = cfg.get("seed") is not None', False),
        ('cfg.seed = 3\nx = cfg.seed', 3),
        ('cfg["seed"] = 3\nx = cfg.get("seed", 0)', 3),
        ('cfg.seed, other = 3, 4\nx = cfg.seed', 3),
        ('cfg.seed = x = 3\nx = cfg.seed', 3),
        ('cfg.mp_start_method = "spawn"\nx = cfg.mp_start_method', 'spawn'),
        ('cfg.setdefault("seed", 3)\nx = cfg.seed', 3),
        ('cfg.merge_from_dict(dict(seed=3))\nx = cfg.seed', 3),
        ('cfg.dist_params = dict(backend="nccl")\nx = cfg.dist_params.backend', 'nccl'),
    ],
)
def test_a_config_without_the_key_reads_and_writes_as_before(lines, expected):
    given = {key: LEGACY[key] for key in ('model', 'optimizer', 'total_epochs')}
    assert ran(lines, Config(convert_config(given).config)) == expected


def test_an_option_that_is_off_stays_off_beside_others_of_the_same_dict():
    lines = 'if cfg.cudnn_benchmark:\n    x = 1'
    assert ran(lines, new_config(cudnn_benchmark=False)) is None
    assert ran(lines, new_config(cudnn_benchmark=True)) == 1


def test_unused_parameters_that_a_script_asks_for_are_asked_for_as_a_config_does():
    config = Config(convert_config(dict(total_epochs=2)).config)
    ran('cfg.find_unused_parameters = True', config)
    expected = convert_config(dict(total_epochs=2, find_unused_parameters=True)).config
    assert config.model_wrapper_cfg == expected['model_wrapper_cfg']


@pytest.mark.parametrize('key', ['gpu_ids', 'gpus'])
def test_devices_that_were_of_the_config_are_marked(key):
    new = migrated(f'x = len(cfg.{key})')
    assert f'{MARK}: {key} is not in a converted config: CUDA_VISIBLE_DEVICES' in new


def test_a_runner_is_seeded_as_the_config_says():
    """Runner draws a seed where it is given none, after that of the script."""
    script = """
        set_random_seed(cfg.seed)
        runner = build_runner(cfg.runner, default_args=dict(model=model, work_dir='w'))
        runner.register_training_hooks(cfg.lr_config, cfg.optimizer_config)
        runner.run([loader], cfg.workflow)
    """
    head = 'from mmcv.runner import build_runner, set_random_seed\n'
    new = convert.convert_source(head + HEAD + dedent(script)).new
    assert 'set_random_seed(cfg.randomness.seed)' in new
    assert "    randomness=cfg.get('randomness', {}),\n" in new
