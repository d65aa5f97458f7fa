"""Legacy code that converts to something else if it is read by its looks alone."""

import inspect
import re
from textwrap import dedent

import pytest
import torch

from mmengine.migrate._code.runner_names import ARGUMENTS, OF_RUNNER, READ_ONLY
from mmengine.model import BaseModel
from mmengine.runner import Runner

convert = pytest.importorskip('mmengine.migrate._code.convert')
MARK = 'TODO(mmengine migrate)'


def converted(text, classes=None):
    new = convert.convert_source(dedent(text), classes=classes).new
    compile(new, '<converted>', 'exec')
    assert convert.convert_source(new, classes=classes).new == new
    return new


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


def test_the_tables_of_names_are_those_of_runner(tmp_path):
    runner = Runner(Toy(), str(tmp_path), log_level='ERROR')
    properties = {
        name: value for name, value in inspect.getmembers(Runner) if isinstance(value, property)
    }
    public = {name for name in {*dir(Runner), *vars(runner)} if not name.startswith('_')}
    assert public == OF_RUNNER
    assert {
        name for name, value in properties.items() if value.fset is None and name[0] != '_'
    } == READ_ONLY
    for method, names in ARGUMENTS.items():
        assert tuple(inspect.signature(getattr(Runner, method)).parameters)[1:] == names


SCRIPT = """
    import os
    from mmcv.runner import EpochBasedRunner

    def main(opts, logger):
        runner = EpochBasedRunner(
            model, optimizer=sgd, work_dir={work_dir}, logger=logger, max_epochs={length})
        runner.register_training_hooks(dict(policy='step', step=[2]), dict(grad_clip=None))
        runner.run([loader], [('train', 1)])
"""


@pytest.mark.parametrize(
    ('work_dir', 'length'),
    [
        ("os.environ['OUT']", '3'),
        ('opts.work_dir', 'opts.epochs'),
        ("opts.get('out')", "opts.train_cfg['epochs']"),
    ],
)
def test_what_only_looks_like_an_entry_of_a_config_is_none(work_dir, length):
    new = converted(SCRIPT.format(work_dir=work_dir, length=length))
    assert 'cfg=' not in new.replace('train_cfg=', '')
    assert f'train_cfg=dict(by_epoch=True, max_epochs={length})' in new
    assert "param_scheduler=[dict(type='MultiStepLR', milestones=[2]" in new
    assert MARK not in new


def test_a_script_without_checkpoints_saves_none_here():
    assert 'default_hooks=dict(checkpoint=None)' in converted(SCRIPT.format(work_dir='a', length=3))


HOOK = """
    from mmcv.runner import Hook
    {above}

    class Watch({base}):
        {own}
        def {method}(self, runner):
            {line}
"""


def hook(line, base='Hook', method='after_train_iter', above='', own=''):
    return converted(HOOK.format(line=line, base=base, method=method, above=above, own=own))


def marks(text):
    return re.findall(rf'# {re.escape(MARK)}: (.*)', text)


def test_an_own_every_n_iters_is_called_and_not_bypassed():
    text = """
        from mmcv.runner import Hook

        class Base(Hook):
            def every_n_iters(self, runner, n):
                return True

        class Watch(Base):
            def after_train_iter(self, runner):
                if self.every_n_iters(runner, 3):
                    pass
    """
    assert 'if self.every_n_iters(runner, 3)' in converted(text)


def test_every_n_iters_of_an_unknown_base_is_marked():
    new = hook('x = self.every_n_iters(runner, 3)', 'Base', above='from other import Base')
    assert 'x = self.every_n_iters(runner, 3)' in new
    (mark,) = marks(new)
    assert 'may be a method of other.Base' in mark


def test_every_n_iters_of_mmcv_is_converted():
    assert 'self.every_n_train_iters(runner, 3)' in hook('x = self.every_n_iters(runner, 3)')


@pytest.mark.parametrize('method', ['before_epoch', 'after_epoch', 'before_iter', 'after_iter'])
def test_methods_of_all_modes_run_in_training_alone(method):
    new = hook('self.done = True', method=method)
    space = {}
    exec(compile(new, '<hook>', 'exec'), space)
    watch = space['Watch']()
    kind = method.partition('_')[2]
    arguments = dict(batch_idx=0, data_batch=None) if kind == 'iter' else {}
    for mode, is_done in (('val', False), ('test', False), ('train', True)):
        name = method.replace('_', f'_{mode}_')
        getattr(watch, name)(None, **arguments)
        assert getattr(watch, 'done', False) == is_done, mode


@pytest.mark.parametrize('method', ['before_val_epoch', 'after_val_iter', 'after_val_epoch'])
def test_in_val_methods_the_loader_is_that_of_the_validation(method):
    assert 'n = runner.val_dataloader' in hook('n = runner.data_loader', method=method)


@pytest.mark.parametrize(
    ('line', 'told'),
    [
        ('runner.rank = 3', 'runner.rank cannot be set'),
        ('n = runner.data_loaders', 'runner.data_loaders: take runner.train_dataloader'),
        ('runner.get_hook_info()', 'runner.get_hooks_info() takes its place'),
        ("runner.save_checkpoint('a', filename_tmpl='b', create_symlink=False)",
         'has no filename_tmpl, create_symlink'),
        ("runner.save_checkpoint('a')", 'takes its arguments in this order'),
        ("runner.resume('a', map_location='cpu', checkpoint='b')", 'has no checkpoint'),
        ('n = runner.something', 'Runner has no such name'),
        ("runner.outputs['loss'] = 3", 'is set in vain'),
        ('for one in runner.optimizer.values(): pass', 'is a dict of wrappers here'),
    ],
)  # fmt: skip
def test_what_a_runner_does_not_have_here_is_marked(line, told):
    found = marks(hook(line))
    assert len(found) == 1
    assert told in found[0]


@pytest.mark.parametrize(
    'line',
    ['n = runner.work_dir', 'runner.mine = 3; n = runner.mine', 'n = runner.optimizer',
     "runner.register_hook(Other(), priority='LOW')", 'n = runner.logger'],
)  # fmt: skip
def test_what_a_runner_has_is_not_marked(line):
    assert marks(hook(line)) == []


def test_one_of_several_optimizers_is_that_of_its_wrapper():
    new = hook("lr = runner.optimizer['head'].param_groups[0]['lr']")
    assert "lr = runner.optim_wrapper['head'].optimizer.param_groups[0]['lr']" in new


MODEL = """
    from torch import nn
    {above}

    class Net({base}):
        def forward(self, x, return_loss=True):
            return x
        def train_step(self, data, optimizer):
            loss, log_vars = self._parse_losses(self(**data))
            return dict(loss=loss, log_vars=log_vars, num_samples={count})
"""


def model(base='nn.Module', above='', count="len(data['x'])"):
    return dedent(MODEL.format(base=base, above=above, count=count))


def test_parse_losses_of_a_base_in_another_file_keeps_its_name(tmp_path):
    (tmp_path / 'a.py').write_text(
        'from torch import nn\n\nclass Own(nn.Module):\n    def _parse_losses(self, losses):\n'
        '        return losses, {}\n'
    )
    (tmp_path / 'b.py').write_text(model('Own', 'from a import Own'))
    first, second = convert.convert_files(tmp_path)
    assert 'self._parse_losses(' in second.new
    assert '_parse_losses may be' not in second.new
    assert first.new == first.old


def test_parse_losses_of_an_unknown_base_is_marked_and_of_none_renamed():
    new = converted(model('Own', 'from other import Own'))
    assert 'self._parse_losses(' in new
    assert any('may be a method of other.Own' in mark for mark in marks(new))
    assert 'self.parse_losses(' in converted(model())


def test_num_samples_is_what_the_model_of_the_project_returned(tmp_path):
    watch = dedent(HOOK.format(line="n = runner.outputs['num_samples']", base='Hook', above='',
                               own='', method='after_train_iter'))  # fmt: skip
    (tmp_path / 'a.py').write_text(model())
    (tmp_path / 'b.py').write_text(watch)
    _, second = convert.convert_files(tmp_path)
    assert "n = len(data_batch['x'])" in second.new
    (tmp_path / 'a.py').write_text(model(count='self.n'))
    _, second = convert.convert_files(tmp_path)
    assert any('num_samples is not in outputs' in mark for mark in marks(second.new))


ENTRIES = """
    from mmcv import Config
    cfg = Config.fromfile('a.py')
    {line}
"""


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ("x = cfg['optimizer']['lr']", "x = cfg['optim_wrapper']['optimizer']['lr']"),
        ("x = cfg.data['train'].root", "x = cfg['train_dataloader']['dataset'].root"),
        ("x = cfg['data']['samples_per_gpu']", "x = cfg['train_dataloader']['batch_size']"),
        ("x = cfg.get('optimizer')", "x = cfg.get('optim_wrapper', {}).get('optimizer')"),
        ("x = cfg.get('cudnn_benchmark', False)",
         "x = cfg.get('env_cfg', {}).get('cudnn_benchmark', False)"),
        ("x = 'optimizer' in cfg", "x = 'optim_wrapper' in cfg"),
        ("cfg.merge_from_dict({'optimizer.lr': 0.1})",
         "cfg.merge_from_dict({'optim_wrapper.optimizer.lr': 0.1})"),
        ("cfg.merge_from_dict({'data.train.root': 'a'})",
         "cfg.merge_from_dict({'train_dataloader.dataset.root': 'a'})"),
        ('if cfg.optimizer: x = 1', "if cfg.get('optim_wrapper'): x = 1"),
        ('x = cfg.optimizer is not None', "x = cfg.get('optim_wrapper') is not None"),
    ],
)  # fmt: skip
def test_entries_of_a_config_are_read_in_any_style(line, expected):
    new = converted(ENTRIES.format(line=line))
    assert expected in new
    assert MARK not in new


@pytest.mark.parametrize(
    ('line', 'told'),
    [
        ("x = cfg.get('lr_config')", 'param_scheduler takes the place of lr_config'),
        ("x = 'lr_config' in cfg", 'param_scheduler takes the place of lr_config'),
        ("x = cfg['lr_config']['step']", 'param_scheduler takes the place of lr_config'),
        ("cfg.merge_from_dict({'lr_config.step': [3]})", 'lr_config.step: param_scheduler takes'),
        ("x = hasattr(cfg, 'evaluation')", 'take the place of evaluation'),
        ('x = build_optimizers(model, cfg.optimizer)', 'build_optimizers: the config holds a'),
    ],
)
def test_entries_that_are_gone_are_marked_in_any_style(line, told):
    found = marks(converted(ENTRIES.format(line=line)))
    assert len(found) == 1
    assert told in found[0]


def test_an_import_that_nothing_uses_does_not_keep_a_module_from_being_imported():
    new = converted("""
        from mmcv.runner import IterLoader, get_dist_info
        rank, _ = get_dist_info()
    """)
    assert 'mmcv' not in new


def test_an_import_that_others_take_over_stays_marked():
    new = converted("""
        from mmcv.runner import IterLoader
        __all__ = ['IterLoader']
    """)
    assert 'from mmcv.runner import IterLoader' in new
    assert len(marks(new)) == 1


@pytest.mark.parametrize('module', ['mmcv.cnn', 'mmcv.cnn.utils.weight_init'])
def test_trunc_normal_comes_from_torch(module):
    new = converted(f'from {module} import trunc_normal_\ntrunc_normal_(weight, std=0.1)\n')
    assert 'from torch.nn.init import trunc_normal_' in new


def test_names_for_exports_are_marked():
    new = converted('from mmcv.tensorrt import onnx2trt\nonnx2trt(1)\n')
    assert len(marks(new)) == 1


def test_a_name_gets_no_alias_where_nothing_clashes():
    new = converted("""
        from mmcv.runner import EpochBasedRunner, Runner

        def main(model, sgd, logger):
            runner = Runner(model, optimizer=sgd, work_dir='a', logger=logger, max_epochs=3)
            runner.run([loader], [('train', 1)])
    """)
    assert 'mmengine_Runner' not in new
    assert 'from mmengine.runner import Runner' in new


GAN = """
    from mmcv.runner import auto_fp16
    from torch import nn

    class Gan(nn.Module):
        @auto_fp16()
        def forward(self, x):
            return x
        def train_step(self, data, optimizer):
            optimizer['head'].zero_grad()
            loss = self(data)
            loss.backward()
            optimizer['head'].step()
            optimizer['tail'].zero_grad()
            self.head.requires_grad_(False)
            other = self(data)
            other.backward()
            optimizer['tail'].step()
            return dict(log_vars=dict(loss=loss.item()), num_samples=1)
"""


def test_a_model_that_steps_itself_casts_in_the_context_of_its_wrappers():
    new = converted(GAN)
    assert "with optim_wrapper['head'].optim_context(self):\n            loss = self(data)" in new
    assert "with optim_wrapper['tail'].optim_context(self):" in new
    assert re.search(r"\n        optim_wrapper\['tail'\]\.update_params\(other\)", new)


def test_nothing_is_marked_where_nothing_is_to_be_done():
    assert marks(converted(GAN)) == []


def test_an_optimizer_that_is_assigned_in_the_step_is_marked():
    text = GAN.replace(
        "optimizer['head'].zero_grad()", 'optimizer = self.optimizer\n            1', 1
    )
    (mark,) = [mark for mark in marks(converted(text)) if 'is assigned in here' in mark]
    assert 'update_params(loss)' in mark


@pytest.mark.parametrize('line', ['import mmcv', 'import mmcv.runner', 'import os, mmcv'])
def test_the_package_is_not_imported_for_nothing(line):
    new = converted(f'{line}\nfrom mmcv.runner import Hook\n\n\nclass A(Hook):\n    pass\n')
    assert 'mmcv' not in new
    assert ('import os' in new) == ('os' in line)
