"""Scripts that choose, change or compute what their runner is told."""

from textwrap import dedent, indent

import pytest

convert = pytest.importorskip('mmengine.migrate._code.convert')
MARK = '# TODO(mmengine migrate): '
SCRIPT = """\
from mmcv import Config
from mmcv.runner import (EpochBasedRunner, Fp16OptimizerHook, GradientCumulativeOptimizerHook,
                         OptimizerHook, build_optimizer)

def main(model, loader, big):
    cfg = Config.fromfile('c.py')
{before}
    runner = EpochBasedRunner(
        model, optimizer=build_optimizer(model, cfg.optimizer), work_dir='w', max_epochs=3{more})
    runner.register_training_hooks({hooks})
    runner.run([loader], [('train', 1)])
"""
OF_CONFIG = 'cfg.lr_config, cfg.optimizer_config, cfg.checkpoint_config, cfg.log_config'


def migrated(before='', hooks=OF_CONFIG, more=''):
    text = SCRIPT.format(before=indent(dedent(before), '    '), hooks=hooks, more=more)
    new = convert.convert_source(text).new
    compile(new, '<converted>', 'exec')
    assert convert.convert_source(new).new == new
    return new


def marks(text):
    return [line.split(MARK)[1] for line in text.splitlines() if MARK in line]


def test_what_the_config_tells_leaves_nothing_to_do():
    assert marks(migrated()) == []


CHOICES = {
    'if': """\
        if cfg.get('distributed'):
            hook = Fp16OptimizerHook(loss_scale=512.0)
        else:
            hook = GradientCumulativeOptimizerHook(4, grad_clip=dict(max_norm=1))
        """,
    'values of the config': """\
        if big:
            hook = Fp16OptimizerHook(loss_scale=cfg.work_dir)
        else:
            hook = cfg.optimizer_config
        """,
    'expression': """\
        hook = GradientCumulativeOptimizerHook(4) if big else OptimizerHook()
        """,
    'loop': """\
        for count in (2, 4):
            hook = GradientCumulativeOptimizerHook(count)
        """,
    'function': 'hook = make_hook(cfg)\n',
    'two assignments': """\
        hook = OptimizerHook()
        hook = GradientCumulativeOptimizerHook(4)
        """,
    'change': """\
        hook = dict(type='OptimizerHook')
        hook['grad_clip'] = dict(max_norm=1)
        """,
}


@pytest.mark.parametrize('name', CHOICES)
def test_an_optimizer_hook_that_a_script_chooses_is_kept_and_marked(name):
    new = migrated(CHOICES[name], 'cfg.lr_config, hook, cfg.checkpoint_config, cfg.log_config')
    assert indent(dedent(CHOICES[name]), '    ').splitlines()[-1].strip() in new
    assert any('are arguments of the optimizer wrapper' in one for one in marks(new))


def test_an_optimizer_hook_that_a_script_makes_is_the_wrapper_of_its_optimizer():
    new = migrated(
        'hook = GradientCumulativeOptimizerHook(4, grad_clip=dict(max_norm=1))'.replace(
            '(4, ', '(cumulative_iters=4, '
        ),
        'cfg.lr_config, hook, cfg.checkpoint_config, cfg.log_config',
    )
    assert marks(new) == []
    assert 'GradientCumulativeOptimizerHook' not in new
    (line,) = [line for line in new.splitlines() if 'optim_wrapper=' in line]
    wrapper = eval(
        line.strip().removeprefix('optim_wrapper=').removesuffix(','),
        {'cfg': _Config(optimizer='sgd', type='AmpOptimWrapper', clip_grad=5, constructor='mine')},
    )
    assert wrapper == {
        'type': 'OptimWrapper',
        'optimizer': 'sgd',
        'constructor': 'mine',
        'accumulative_counts': 4,
        'clip_grad': {'max_norm': 1},
    }


class _Config:
    def __init__(self, **wrapper):
        self.optim_wrapper = wrapper


PLACES = {
    'lr_config': '{}, cfg.optimizer_config, cfg.checkpoint_config, cfg.log_config',
    'checkpoint_config': 'cfg.lr_config, cfg.optimizer_config, {}, cfg.log_config',
    'log_config': 'cfg.lr_config, cfg.optimizer_config, cfg.checkpoint_config, {}',
    'momentum_config': f'{OF_CONFIG}, {{}}',
}
STYLES = {
    'if': 'if big:\n    told = dict(interval=1)\nelse:\n    told = cfg.{key}\n',
    'expression': 'told = cfg.{key} if big else dict(interval=1)\n',
    'function': 'told = make(cfg)\n',
    'literal': 'told = dict(interval=1)\n',
    'default': "told = cfg.get('{key}', dict(interval=1))\n",
    'loop': 'for told in (dict(interval=1), dict(interval=2)):\n    pass\n',
    'second': 'told = cfg.{key}\ntold = make(told)\n',
    'change': 'told = cfg.{key}\ntold.update(interval=1)\n',
}


@pytest.mark.parametrize('key', PLACES)
@pytest.mark.parametrize('style', STYLES)
def test_a_config_that_a_script_chooses_is_kept_and_marked(key, style):
    new = migrated(STYLES[style].format(key=key), PLACES[key].format('told'))
    assert any('told' in one or one.startswith(key) for one in marks(new))
    assert 'told = ' in new or 'for told' in new


def test_a_name_for_an_entry_of_the_config_is_that_entry():
    new = migrated('told = cfg.lr_config', PLACES['lr_config'].format('told'))
    assert "param_scheduler=cfg.get('param_scheduler')" in new
    assert not any('of this script' in one for one in marks(new))


def test_a_length_that_is_computed_from_the_config_is_computed_still():
    new = migrated('').replace('max_epochs=3', 'max_epochs=cfg.total_epochs * 2')
    assert 'max_epochs=cfg.total_epochs * 2' in new


@pytest.mark.parametrize('text', ['*told', '**told', 'cfg.lr_config, **told'])
def test_arguments_that_only_a_run_tells_are_marked(text):
    new = migrated('told = make()\n', text)
    assert f'register_training_hooks({text})' in new
    assert len(marks(new)) >= 1


def test_a_parameter_of_a_function_is_not_what_the_module_calls_so():
    text = 'big = dict(grad_clip=dict(max_norm=9))\n' + SCRIPT.format(
        before='    pass', more='', hooks='cfg.lr_config, big, cfg.checkpoint_config'
    )
    new = convert.convert_source(text).new
    assert any('are arguments of the optimizer wrapper' in one for one in marks(new))
    assert new.count('max_norm=9') == 1


@pytest.mark.parametrize(
    ('meta', 'lines'),
    [
        ('dict(seed=1)', ["runner.message_hub.update_info('seed', 1)"]),
        ("{'seed': cfg.seed}",
         ["runner.message_hub.update_info('seed', cfg.randomness.seed)"]),
        ('big', ['for key, value in (big or {}).items():',
                 'runner.message_hub.update_info(key, value)']),
        ('None', []),
        ('dict()', []),
    ],
)  # fmt: skip
def test_meta_of_the_runner_is_in_the_message_hub(meta, lines):
    new = migrated(more=f', meta={meta}')
    assert marks(new) == []
    rest = new.partition('    )\n')[2].partition('    runner.train()')[0]
    assert [line.strip() for line in rest.splitlines()] == lines


@pytest.mark.parametrize(
    ('line', 'new'),
    [
        ('cfg.merge_from_dict(dict(optimizer=dict(lr=0.5), work_dir=3))',
         "cfg.merge_from_dict({'optim_wrapper.optimizer': dict(lr=0.5), 'work_dir': 3})"),
        ("cfg.merge_from_dict({'optimizer': {'lr': 0.5}, 'model': {'optimizer': 3}})",
         "cfg.merge_from_dict({'optim_wrapper.optimizer': {'lr': 0.5}, "
         "'model': {'optimizer': 3}})"),
        ("cfg.merge_from_dict({'optimizer.paramwise_cfg.norm_decay_mult': 0})",
         "cfg.merge_from_dict({'optim_wrapper.paramwise_cfg.norm_decay_mult': 0})"),
        ('del cfg.optimizer', 'del cfg.optim_wrapper.optimizer'),
        ('cfg.merge_from_dict(args.cfg_options)', 'cfg.merge_from_dict(args.cfg_options)'),
        ('cfg.update(dict(model=3))', 'cfg.update(dict(model=3))'),
    ],
)  # fmt: skip
def test_a_change_of_the_config_is_by_its_new_names(line, new):
    result = migrated(line)
    assert f'    {new}\n' in result
    assert marks(result) == []


@pytest.mark.parametrize(
    ('lines', 'key'),
    [
        ('cfg.merge_from_dict(dict(lr_config=dict(step=[3])))', 'lr_config'),
        ("cfg.merge_from_dict({'data': dict(train=3)})", 'data'),
        ('cfg.merge_from_dict(dict(optimizer=dict(paramwise_cfg=3)))', 'optimizer.paramwise_cfg'),
        ("more = {'optimizer.lr': 3}\ncfg.merge_from_dict(more)", 'optimizer'),
        ('more = dict(total_epochs=3)\ncfg.update(more)', 'total_epochs'),
        ("cfg.update(dict(lr_config=dict(policy='fixed')))", 'lr_config'),
        ('cfg.update(optimizer=dict(lr=1))', 'optimizer'),
        ("cfg.setdefault('total_epochs', 3)", 'total_epochs'),
        ("cfg.setdefault('optimizer_config', None)", 'optimizer_config'),
        ("setattr(cfg, 'optimizer_config', None)", 'optimizer_config'),
        ("setattr(cfg, 'optimizer', None)", 'optimizer'),
        ("delattr(cfg, 'lr_config')", 'lr_config'),
        ("cfg.pop('lr_config')", 'lr_config'),
        ("cfg.pop('lr_config', None)", 'lr_config'),
        ('del cfg.lr_config', 'lr_config'),
        ("del cfg['lr_config']", 'lr_config'),
        ("cfg.lr_config = dict(policy='step')", 'lr_config'),
        ("cfg['lr_config'] = dict(policy='step')", 'lr_config'),
        ("other = Config(dict(optimizer=dict(type='SGD')))", 'optimizer'),
    ],
)
def test_a_change_of_the_config_that_has_no_new_name_is_marked(lines, key):
    found = marks(migrated(lines))
    assert len(found) == 1
    assert f'takes the place of {key}' in found[0] or f'take the place of {key}' in found[0]


def test_optimizers_by_name_of_the_config_are_wrappers_of_the_config():
    text = SCRIPT.format(before='    pass', more='', hooks=OF_CONFIG).replace(
        'build_optimizer(model, cfg.optimizer)',
        '{name: build_optimizer(model[name], cfg.optimizer[name]) for name in big}',
    )
    new = convert.convert_source(text).new
    assert 'build_optim_wrapper(model[name], cfg.optim_wrapper[name])' in new
    assert marks(new) == []


def test_only_the_legacy_entries_of_a_config_are_migrated_with_it():
    """A variable of the config is where it was, whatever the config's own schedule says."""
    text = SCRIPT.format(before='', hooks='cfg.my.lr_config, None, cfg.checkpoint_config', more='')
    text = text.replace('cfg.optimizer', 'cfg.second').replace('max_epochs=3', 'max_epochs=cfg.n')
    new = convert.convert_source(text).new
    assert 'train_cfg=dict(by_epoch=True, max_epochs=cfg.n)' in new
    assert 'optim_wrapper=dict(optimizer=cfg.second)' in new
    mark = 'migrate): lr_config=cfg.my.lr_config is not written out here'
    assert 'param_scheduler' not in new.split(mark)[1][30:]


@pytest.mark.parametrize(
    ('step', 'scheduler'),
    [
        ('cfg.steps', "'LegacyLRScheduler', policy='Step', policy_by_epoch=True, step=cfg.steps"),
        ('[n for n in (1, 2)]', 'step=[n for n in (1, 2)]'),
        ('big // 2', "type='StepLR', step_size=big // 2"),
        ('[big, big + 2]', "type='MultiStepLR', milestones=[big, big + 2]"),
    ],
)  # fmt: skip
def test_what_may_be_a_step_or_milestones_is_taken_as_either(step, scheduler):
    new = migrated(hooks=f"dict(policy='step', step={step}), None")
    assert scheduler in new
    assert marks(new) == []


@pytest.mark.parametrize('choice', ['by_epoch=big', 'warmup=cfg.warm, warmup_iters=3'])
def test_a_schedule_whose_kind_only_a_run_tells_is_marked(choice):
    new = migrated(hooks=f"dict(policy='exp', gamma=0.5, {choice}), None")
    assert any('is known to a run alone' in one for one in marks(new))


LATER = """\
def main(model, loader, steps, args):
    optimizer = SGD(model.parameters(), 0.1)
    lr = dict(policy='step', step=[steps])
    runner = EpochBasedRunner(model, None, optimizer, 'w', max_epochs=args.epochs)
    runner.register_lr_hook(lr)
    {between}
    runner.register_optimizer_hook(dict())
    runner.run([loader], [('train', 1)])
"""


@pytest.mark.parametrize(
    ('between', 'stale'),
    [
        ('steps = 7', 'steps'), ('model = model.eval()', 'model'),
        ('args.epochs = 9', 'args.epochs'), ('loader = list(loader)', ''), ('text = steps', ''),
        ('other = model.eval()', ''),
    ],
)  # fmt: skip
def test_what_is_assigned_again_behind_the_call_that_used_it_is_marked(between, stale):
    text = 'from mmcv.runner import EpochBasedRunner\nfrom torch.optim import SGD\n\n'
    new = convert.convert_source(text + LATER.format(between=between)).new
    assert [one.split()[0] for one in marks(new)] == ([stale] if stale else [])


OWNERS = {
    'walrus': ('if (cfg := Config.fromfile("x")):\n    pass', 'cfg'),
    'annotation': ('cfg: Config = Config.fromfile("x")', 'cfg'),
    'made': ('cfg = Config(dict(a=1))', 'cfg'),
    'merged': ('cfg.merge_from_dict(vars(big))', 'cfg'),
    'attribute': ('self.cfg = Config.fromfile("x")', 'self.cfg'),
    'parameter': ('', 'given'),
    'read as one': ('cfg.data.train', 'cfg'),
}


@pytest.mark.parametrize('name', OWNERS)
def test_whatever_holds_a_config_is_read_by_the_new_names(name):
    text, cfg = OWNERS[name]
    head = 'from mmcv import Config\n\n\ndef main(self, cfg, big, given: Config):\n'
    read = f"print({cfg}.data.train.root, {cfg}['optimizer']['lr'], {cfg}.get('total_epochs'))\n"
    new = convert.convert_source(head + indent(f'{text}\n{read}', '    ')).new
    assert f"{cfg}.train_dataloader.dataset.root, {cfg}['optim_wrapper']['optimizer']['lr']" in new
    assert f"{cfg}.get('train_cfg', {{}}).get('max_epochs')" in new
    assert marks(new) == []


def test_a_script_with_its_config_in_self_is_converted():
    text = SCRIPT.replace('cfg', 'self.cfg').format(
        before='', hooks=OF_CONFIG.replace('cfg', 'self.cfg'), more=''
    )
    new = convert.convert_source(text).new
    assert 'optim_wrapper=self.cfg.optim_wrapper,' in new
    assert "param_scheduler=self.cfg.get('param_scheduler')," in new
    assert marks(new) == []


def test_keys_that_are_put_together_are_marked():
    new = migrated("cfg.merge_from_dict({f'data.{one}.root': big for one in ('train', 'val')})")
    assert any('take the place of data' in one for one in marks(new))


def test_runners_and_builders_by_other_names_are_converted():
    names = {'EpochBasedRunner': 'Epochs', 'build_optimizer': 'make'}
    text = SCRIPT.format(before='', hooks="dict(policy='exp', gamma=0.5), OptimizerHook()", more='')
    head, main = text.split('def main')
    for old, new in names.items():
        head, main = head.replace(old, f'{old} as {new}'), main.replace(old, new)
    assert convert.convert_source(f'{head}def main{main}').new == convert.convert_source(text).new


def test_a_model_that_was_wrapped_is_the_one_that_it_was():
    before = 'optimizer = build_optimizer(model, cfg.optimizer)\nmodel = MMDataParallel(model)'
    text = SCRIPT.format(before=indent(before, '    '), hooks=OF_CONFIG, more='')
    text = text.replace('optimizer=build_optimizer(model, cfg.optimizer)', 'optimizer=optimizer')
    new = convert.convert_source(f'from mmcv.parallel import MMDataParallel\n{text}').new
    assert marks(new) == []


TRAIN_CFG = {
    "build(cfg.model, train_cfg=cfg.get('train_cfg'))": "train_cfg=cfg.model.get('train_cfg'))",
    'build(cfg.model, cfg.train_cfg, cfg.test_cfg)':
        "(cfg.model, cfg.model.get('train_cfg'), cfg.model.get('test_cfg'))",
    "mine = cfg.get('test_cfg', None)": "mine = cfg.model.get('test_cfg', None)",
    'cfg.test_cfg.rcnn.score = 3': 'cfg.model.test_cfg.rcnn.score = 3',
    "cfg.test_cfg['rcnn']['score'] = 3": "cfg.model.test_cfg['rcnn']['score'] = 3",
    'print(cfg.total_epochs)': 'print(cfg.train_cfg.max_epochs)',
}  # fmt: skip


@pytest.mark.parametrize('text', TRAIN_CFG)
def test_the_train_cfg_of_a_legacy_config_is_the_models(text):
    """That of the migrated config is the loop's, which no model is to be given."""
    new = migrated(text)
    assert TRAIN_CFG[text] in new
    assert 'train_cfg=cfg.train_cfg,' not in new.partition('Runner(')[0]
    again = convert.convert_source('import mmcv\nmmcv.imread\ncfg.lr_config\n' + new).new
    assert TRAIN_CFG[text] in again


@pytest.mark.parametrize(
    ('line', 'new'),
    [
        ('cfg.total_epochs = 5', 'cfg.train_cfg.max_epochs = 5'),
        ("cfg.runner['max_iters'] *= 2", "cfg['train_cfg']['max_iters'] *= 2"),
        ("cfg.merge_from_dict({'runner.max_epochs': 5})",
         "cfg.merge_from_dict({'train_cfg.max_epochs': 5})"),
        ('cfg.merge_from_dict(dict(total_epochs=5))',
         "cfg.merge_from_dict({'train_cfg.max_epochs': 5})"),
    ],
)  # fmt: skip
def test_another_length_is_marked_as_the_schedule_keeps_that_of_the_config(line, new):
    result = migrated(line)
    assert new in result
    assert [one.partition(':')[0] for one in marks(result)] == [
        'the schedules of a migrated config are for its own length'
    ]
