"""Imports, hooks, optimizer hooks and scripts of MMCV 1.x, converted; and the command line."""

import argparse
import importlib
from textwrap import dedent
from typing import Any

import pytest

from mmengine.migrate._code import cli
from mmengine.migrate._code.homes import HOMES

convert = pytest.importorskip('mmengine.migrate._code.convert')


def _converted(text: str) -> str:
    new: str = convert.convert_source(dedent(text)).new
    compile(new, '<converted>', 'exec')
    return new


@pytest.mark.parametrize('home', sorted(set(HOMES.values()), key=str))
def test_every_new_home_has_the_name(home):
    module, name = home
    assert hasattr(importlib.import_module(module), name)


def test_imports_are_split_by_new_home_and_others_stay():
    new = _converted(
        """
        import mmcv
        from mmcv.cnn import ConvModule, constant_init
        from mmcv.runner import BaseModule as Base, load_checkpoint  # parts
        from mmcv.parallel import is_module_wrapper, collate

        cfg = mmcv.Config.fromfile('a.py')
        img = mmcv.imread('a.png')
        Base, ConvModule, constant_init, load_checkpoint, is_module_wrapper, collate
        """
    )
    assert "cfg = Config.fromfile('a.py')" in new
    assert "img = mmcv.imread('a.png')" in new
    lines = new.splitlines()
    for line in (
        'import mmcv',
        'from mmcv.cnn import ConvModule',
        'from mmengine.runner import load_checkpoint  # parts',
        'from mmengine.model import BaseModule as Base, constant_init, '
        'is_model_wrapper as is_module_wrapper',
        'from mmengine.config import Config',
        'from mmcv.parallel import collate',
    ):
        assert line in lines
    assert sum('TODO(mmengine migrate): collate' in line for line in lines) == 1


def test_a_package_that_nothing_uses_any_more_is_not_imported():
    assert 'import mmcv\n' not in _converted("import mmcv\nmmcv.mkdir_or_exist('a')\n")


def test_a_hook_gets_its_new_signatures_and_names():
    new = _converted(
        """
        from mmcv.runner import HOOKS, Hook

        @HOOKS.register_module
        class Watch(Hook):
            def after_train_iter(self, runner):
                super().after_train_iter(runner)
                if self.every_n_inner_iters(runner, 10) and runner.inner_iter > 3:
                    loss = runner.outputs['log_vars']['loss']
                    runner.log_buffer.update({'watched': loss}, len(runner.data_batch))
                if self.end_of_epoch(runner):
                    print(runner.current_lr(), runner.optimizer.param_groups, runner._max_iters)

            def before_epoch(self, runner):
                self.seen = runner.outputs
        """
    )
    expected = dedent(
        """
        @HOOKS.register_module()
        class Watch(Hook):
            def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
                super().after_train_iter(runner, batch_idx, data_batch=data_batch, outputs=outputs)
                if self.every_n_inner_iters(batch_idx, 10) and batch_idx > 3:
                    loss = outputs['loss']
                    runner.message_hub.update_scalar('train/watched', loss, len(data_batch))
                if self.end_of_epoch(runner.train_dataloader, batch_idx):
                    print(runner.optim_wrapper.get_lr()['lr'], """
        """runner.optim_wrapper.optimizer.param_groups, runner.max_iters)

            def _before_epoch(self, runner, mode='train'):
                if mode != 'train':
                    return
                # TODO(mmengine migrate): runner.outputs is handed to before_ and after_ methods """
        """of an iteration
                self.seen = runner.outputs
        """
    )
    assert expected in new


def test_an_optimizer_hook_becomes_a_wrapper_that_steps_alike():
    import torch

    text = """
        from mmcv.runner import HOOKS, OptimizerHook

        @HOOKS.register_module()
        class Scaled(OptimizerHook):
            def __init__(self, factor, grad_clip=None):
                super().__init__(grad_clip=grad_clip)
                self.factor = factor

            def after_train_iter(self, runner):
                runner.optimizer.zero_grad()
                loss = runner.outputs['loss'] * self.factor
                loss.backward()
                runner.optimizer.step()
        """
    namespace: dict[str, Any] = {}
    exec(_converted(text), namespace)
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    wrapper = namespace['Scaled'](torch.optim.SGD([weight], lr=0.1), 3.0)
    wrapper.update_params(weight.square().sum())
    # 2 - 0.1 * 3 * (2 * 2)
    assert weight.item() == pytest.approx(0.8)
    from mmengine.registry import OPTIM_WRAPPERS

    OPTIM_WRAPPERS._module_dict.pop('Scaled')


def test_force_fp32_leaves_a_mark_and_auto_fp16_none():
    new = _converted(
        """
        from mmcv.runner import auto_fp16, force_fp32

        class Head:
            @auto_fp16()
            def forward(self, x):
                return x

            @force_fp32(apply_to=('x',))
            def loss(self, x):
                return x
        """
    )
    assert '@' not in new
    assert new.count('TODO(mmengine migrate)') == 1
    assert 'mmcv' not in new


def test_a_runner_that_is_run_elsewhere_gets_a_mark():
    new = _converted(
        """
        from mmcv.runner import EpochBasedRunner

        def build(model):
            runner = EpochBasedRunner(model, max_epochs=1)
            return runner
        """
    )
    assert 'its run() is elsewhere' in new


def test_hooks_that_were_registered_one_by_one_are_given_with_the_rest():
    new = _converted(
        """
        from mmcv.runner import EpochBasedRunner

        def main(model, optimizer, loader, hook):
            runner = EpochBasedRunner(model, optimizer=optimizer, work_dir='w', max_epochs=2)
            runner.register_hook(hook)
            runner.load_checkpoint('a.pth')
            runner.run([loader], [('train', 1)])
        """
    )
    assert new == dedent(
        """
        from mmengine.optim import OptimWrapper
        from mmengine.runner import Runner

        def main(model, optimizer, loader, hook):
            runner = Runner(
                model=model,
                work_dir='w',
                train_dataloader=loader,
                train_cfg=dict(by_epoch=True, max_epochs=2),
                optim_wrapper=OptimWrapper(optimizer),
                default_hooks=dict(checkpoint=None),
                load_from='a.pth',
                custom_hooks=[hook],
            )
            runner.train()
        """
    )


def test_a_runner_that_is_used_before_its_run_stays_with_a_mark():
    text = """
        from mmcv.runner import EpochBasedRunner

        def main(model, loader, path):
            runner = EpochBasedRunner(model, max_epochs=2)
            if path:
                runner.resume(path, resume_optimizer=False)
            runner.run([loader], [('train', 1)])
        """
    new = _converted(text)
    assert 'used before its run()' in new
    assert 'runner.resume(path, resume_optimizer=False)' in new


def test_a_codemod_that_breaks_the_file_leaves_it_and_says_so(monkeypatch):
    class Breaking(convert.Codemod):
        name = 'breaking'
        triggers = ('mmcv',)

        def leave_Name(self, original_node: Any, updated_node: Any) -> Any:
            return updated_node.with_changes(value='1 2')

    monkeypatch.setattr(convert, 'CODEMODS', (Breaking, convert.Imports))
    conversion = convert.convert_source('import mmcv\na = mmcv.imread(1)\n')
    assert conversion.applied == []
    assert conversion.new.endswith('import mmcv\na = mmcv.imread(1)\n')
    assert 'breaking could not be converted' in conversion.todo[0][1]


def _run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


def test_a_tree_is_listed_first_and_changed_when_asked(tmp_path, capsys):
    old = 'from mmcv.runner import BaseModule\n\n\nclass A(BaseModule):\n    pass\n'
    (tmp_path / 'a.py').write_text(old)
    (tmp_path / 'b.py').write_text('x = 1\n')
    assert _run(str(tmp_path)) == 0
    assert (tmp_path / 'a.py').read_text() == old
    assert 'a.py: imports' in capsys.readouterr().out
    assert _run(str(tmp_path), '--diff') == 0
    assert '+from mmengine.model import BaseModule' in capsys.readouterr().out
    assert _run(str(tmp_path), '--write') == 0
    assert (tmp_path / 'a.py').read_text() == old.replace('mmcv.runner', 'mmengine.model')


def test_what_is_left_is_listed_with_its_line_and_the_exit_code(tmp_path, capsys):
    (tmp_path / 'a.py').write_text('from mmcv.parallel import collate\ncollate([])\n')
    assert _run(str(tmp_path), '--write') == 1
    assert 'a.py:1: collate: ' in capsys.readouterr().out
    assert _run(str(tmp_path)) == 1


def test_files_that_are_no_python_and_places_that_are_none_are_told(tmp_path, capsys):
    (tmp_path / 'a.py').write_text('def broken(:\n')
    assert _run(str(tmp_path), '--write') == 2
    assert 'a.py: not converted: line 1' in capsys.readouterr().err
    assert _run(str(tmp_path / 'none')) == 2
    assert 'There is no file or folder' in capsys.readouterr().err
    assert _run() == 2


def test_the_codemods_are_listed(capsys):
    assert _run('--list') == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [codemod.name for codemod in convert.CODEMODS]
