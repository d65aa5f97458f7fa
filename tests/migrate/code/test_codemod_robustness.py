"""No text makes the code migration fall over, and it does not touch what it need not."""

import ast
import re
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmengine.migrate._code._base import MARK
from mmengine.migrate._code.homes import advice_for, home_of, is_gone
from mmengine.migrate._code.names import parse

convert = pytest.importorskip('mmengine.migrate._code.convert')


def _converted(text: str) -> str:
    """The new text, which parses and is left alone by a second run."""
    conversion = convert.convert_source(text)
    assert not conversion.error
    new: str = conversion.new
    parse(new)
    assert 'could not be converted' not in new
    again = convert.convert_source(new)
    assert again.new == new, again.diff()
    return new


NASTY = {
    'lambda': """
        from mmcv.runner import BaseModule
        class A(BaseModule):
            train_step = lambda self, data, optimizer: self(data)
            val_step: object = None
        """,
    'one line': """
        from mmcv.runner import Hook, HOOKS; import mmcv
        class A(Hook): pass
        class B(Hook):
            def after_run(self, runner): print(runner.meta); runner.log_buffer.ready = True
        """,
    'nested': """
        def make():
            from mmcv.runner import Hook
            class Outer:
                class Inner(Hook):
                    def before_epoch(self, runner):
                        def inside(runner):
                            return runner.outputs
                        return inside(runner)
            return Outer
        """,
    'star arguments': """
        from mmcv.runner import Hook, BaseModule
        class A(Hook):
            def after_train_iter(self, runner, *args, **kwargs):
                super().after_train_iter(runner, *args, **kwargs)
            def before_train_iter(self, *args): pass
        class B(BaseModule):
            def train_step(self, *args, **kwargs):
                return self.forward(*args, return_loss=True, **kwargs)
            def forward(self, *x, return_loss=True, **kwargs): ...
        """,
    'walrus and match': """
        from mmcv.runner import Hook, EpochBasedRunner
        class A(Hook):
            def after_train_iter(self, runner):
                if (n := runner.inner_iter) and (m := runner.outputs['log_vars']):
                    match runner.mode:
                        case 'train' if n: print(f'{runner.outputs["loss"]!r:>{n}}')
                        case _: pass
        """,
    'async and decorators': """
        import functools
        from mmcv.runner import HOOKS, Hook, master_only, auto_fp16
        @HOOKS.register_module(name='b', force=True)
        @functools.total_ordering
        class A(Hook):
            @master_only
            @functools.lru_cache()
            def before_run(self, runner): return runner.work_dir
            @property
            def x(self): return 1
            async def later(self, runner): await runner.meta
            @auto_fp16
            def f(self): ...
        """,
    'conditional imports': """
        try:
            from mmcv.runner import auto_fp16
        except ImportError:
            auto_fp16 = None
        if True:
            import mmcv.runner
        else:
            from mmcv.parallel import collate as c
        try:
            import mmcv as m, os
        except ImportError:
            m = None
        """,
    'aliases': """
        import mmcv as m
        import mmcv.runner.hooks as h
        from mmcv import runner as r, parallel
        from mmcv.runner import OptimizerHook as OH
        class A(r.BaseModule): pass
        class B(h.Hook): pass
        class C(OH):
            def after_train_iter(self, runner): runner.optimizer.step()
        m.Config.fromfile('a'); parallel.collate([]); r.hooks.HOOKS
        """,
    'star import': """
        from mmcv.runner import *
        from mmcv import *
        class A(BaseModule): pass
        cfg = Config()
        x = auto_fp16
        """,
    'all': """
        from mmcv.runner import BaseModule, EvalHook
        from .models import A
        __all__ = ['BaseModule', 'EvalHook', 'A']
        """,
    'type comments': """
        from mmcv import Config
        def f(cfg):  # type: (Config) -> None
            x = cfg  # type: Config
            return x
        """,
    'half migrated': """
        from mmengine.runner import Runner
        from mmengine.hooks import Hook
        from mmcv.runner import load_checkpoint
        class A(Hook):
            def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
                print(outputs, runner.message_hub)
        runner = Runner.from_cfg({})
        runner.train()
        """,
    'own names': """
        from mmcv.runner import get_dist_info
        from other import Config
        import mmcv
        a = mmcv.Config(); b = Config(); load = 3; c = mmcv.load('x')
        """,
    'optimizer positions': """
        from torch import nn
        class A(nn.Module):
            def train_step(self, data, x=1, optimizer=None, *, y):
                optimizer.zero_grad()
                loss = self.f(data, optimizer=optimizer)
                loss.backward(); optimizer.step()
            def f(self, data, optimizer): return 1
        class B(A):
            def train_step(self, data, optimizer):
                for o in optimizer: o.step()
                if data: return {}
                else: return dict(loss=1)
        class C(nn.Module):
            def train_step(self, data, optimizer): return {}
        class D(nn.Module):
            def train_step(self, data, optimizer):
                '''Only words.'''
        """,
    'runners': """
        from mmcv.runner import EpochBasedRunner, IterBasedRunner, build_runner, Runner as R
        def f(cfg, **kw):
            runner = EpochBasedRunner(*cfg, **kw)
            runner.run([], [('train', 1), ('val', 1)], 3)
            self.runner = r = IterBasedRunner()
            r.run(loaders, cfg.workflow)
            build_runner(cfg).run([1], [])
            x = R(1, 2, 3); x.register_training_hooks(None); x.run([1], [('train', 1)])
            return EpochBasedRunner
        class Own(EpochBasedRunner):
            def train(self, data_loader, **kwargs): self.call_hook('before_train_epoch')
        """,
    'comment only': '# mmcv\n',
    'text only': '"""About mmcv.runner and train_step."""\n',
}


@pytest.mark.parametrize('name', NASTY)
def test_odd_code_is_converted_or_marked_and_then_left_alone(name):
    text = dedent(NASTY[name])
    new = _converted(text)
    for old in _legacy_names(text):
        assert not _stands_unmarked(old, new), f'{old}\n{new}'


def _legacy_names(text: str) -> set[str]:
    """Full names of what a text imports from parts of MMCV that are gone."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('mmcv'):
            found.update(f'{node.module}.{alias.name}' for alias in node.names)
    return {full for full in found if home_of(full) or is_gone(full)}


def _stands_unmarked(full: str, new: str) -> bool:
    """Whether a gone name is still imported from its old place, with no mark beside it."""
    module, _, name = full.rpartition('.')
    for node in ast.walk(ast.parse(new)):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            names = [alias.name for alias in node.names]
            if name in names:
                above = new.splitlines()[: node.lineno]
                return not any(MARK in line for line in above[-len(names) - 1 :])
    return False


FILES = {
    'empty.py': (b'', ''),
    'blank.py': (b'\n\n', ''),
    'two.py': (b'print "mmcv"\n', 'line 1'),
    'broken.py': (b'def broken(:\n', 'line 1'),
    'null.py': (b'import mmcv\0\n', 'null bytes'),
    'image.py': (bytes(range(256)), 'text'),
    'coding.py': (b'# coding: no-such-thing\n', 'no-such-thing'),
    'deep.py': (b'import mmcv\nx = ' + b'+'.join([b'mmcv.imread(1)'] * 3000) + b'\n', 'nested'),
    'parens.py': (b'import mmcv\nx = ' + b'(' * 500 + b')' * 500 + b'\n', 'parenthes'),
    'tabs.py': (b'if 1:\n\tx = 1\n        y = 2\n', 'inconsistent'),
}


@pytest.mark.parametrize('name', FILES)
def test_files_that_cannot_be_read_are_told_without_a_traceback(name, tmp_path):
    data, reason = FILES[name]
    (tmp_path / name).write_bytes(data)
    (conversion,) = convert.convert_files(tmp_path)
    assert reason in conversion.error
    assert bool(conversion.error) == bool(reason)
    assert conversion.new == conversion.old


ENCODED = {
    'crlf': (b'from mmcv.runner import Hook\r\n\r\nx = {1:2}\r\n', b'mmengine.hooks', b'\r\n'),
    'bom': (b'\xef\xbb\xbffrom mmcv.runner import Hook\n', b'mmengine.hooks', b'\xef\xbb\xbf'),
    'latin-1': (
        b'# -*- coding: latin-1 -*-\nfrom mmcv.runner import Hook\nx = "\xe9"\n',
        b'mmengine.hooks',
        b'"\xe9"',
    ),
    'tabs': (
        b'from mmcv.runner import Hook\nclass A(Hook):\n\tdef before_epoch(self, runner):\n'
        b'\t\tself.x  =  1\n',
        b'\tdef _before_epoch(self',
        b'\t\tself.x  =  1\n',
    ),
    'no end of line': (b'from mmcv.runner import Hook', b'mmengine.hooks', b'Hook'),
    'form feed': (b'from mmcv.runner import Hook\n\x0c\nx = 1\n', b'mmengine.hooks', b'\x0c'),
}


@pytest.mark.parametrize('name', ENCODED)
def test_a_file_keeps_its_encoding_line_ends_and_indents(name, tmp_path):
    data, new, kept = ENCODED[name]
    path = tmp_path / 'a.py'
    path.write_bytes(data)
    convert.write(convert.convert_file(path))
    written = path.read_bytes()
    assert new in written
    assert kept in written
    assert (b'\r\n' in written) == (b'\r\n' in data)
    assert written.count(b'\n') == written.count(b'\r\n') or name != 'crlf'


# Generated modules: lines and blocks of legacy code among lines that must stay as they are.
PLAIN = (
    "x = {'a':1 ,  'b': [ 1,2 ]}   # spaces  stay\n",
    'def helper(a,*b,c = 1,**d) :\n    return a or(b)  ;\n',
    'class Plain( object ):\n\n\n    y : int=3\n    def method(self): return lambda q :q\n',
    "if x : pass\nelif 1: x = \\\n    2\nelse:\n  x = '''\n   text\n'''\n",
    'for i in range( 3 ) :\n\tprint( i )\n',
    '@helper\ndef decorated( ) : ...\n',
    'with open( __file__ ) as f , open(f.name):\n     pass  # five\n',
)
NAMES = (
    'BaseModule', 'HOOKS', 'Hook', 'OptimizerHook', 'auto_fp16', 'force_fp32', 'load_checkpoint',
    'get_dist_info', 'EpochBasedRunner', 'build_optimizer', 'EvalHook', 'Sequential',
    'wrap_fp16_model', 'TextLoggerHook', 'obj_from_dict',
)  # fmt: skip
METHODS = (
    'before_run', 'before_epoch', 'after_train_iter', 'after_val_iter', 'after_epoch', 'helper',
)  # fmt: skip
STATEMENTS = (
    "self.x = runner.outputs['log_vars']['loss']",
    'if self.every_n_inner_iters(runner, 3): return',
    "runner.log_buffer.update({'a': runner.iter}, len(runner.data_batch))",
    "runner.log_buffer.output['b'] = 1; runner.log_buffer.ready = True",
    'runner.optimizer.step()',
    'loss.backward()',
    'runner.optimizer.zero_grad()',
    'print(runner.meta, runner.mode, runner.inner_iter, runner.current_lr())',
    'super().after_train_iter(runner)',
    'self.clip_grads(runner.model.parameters())',
)
STEPS = (
    'loss = self(**data)',
    'losses = self(data, return_loss=True)',
    'optimizer.zero_grad()',
    "optimizer['a'].zero_grad()",
    'loss.backward()',
    'optimizer.step()',
    "optimizer['a'].step()",
    'nn.utils.clip_grad_norm_(self.parameters(), 1)',
    'loss, log_vars = self._parse_losses(losses)',
    'return dict(loss=loss, log_vars=log_vars, num_samples=1)',
    'return loss',
)


@st.composite
def _blocks(draw: Any) -> str:
    kind = draw(st.sampled_from(['plain', 'import', 'hook', 'model', 'script', 'attribute']))
    if kind == 'plain':
        return draw(st.sampled_from(PLAIN))
    if kind == 'import':
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
        aliased = [f'{name} as {name}_' if draw(st.booleans()) else name for name in names]
        return f'from mmcv.runner import {", ".join(aliased)}\n'
    if kind == 'attribute':
        name = draw(st.sampled_from(['Config', 'imread', 'load', 'runner.Hook', 'utils.Registry']))
        return f'import mmcv\nvalue = mmcv.{name}\n'
    if kind == 'script':
        return (
            'def main(model, loader):\n    runner = EpochBasedRunner(model, optimizer=1, '
            f'max_epochs={draw(st.integers(1, 3))})\n'
            + draw(st.sampled_from(['', '    runner.register_hook(1)\n', '    print(runner)\n']))
            + "    runner.run([loader], [('train', 1)])\n"
        )
    lines = draw(
        st.lists(st.sampled_from(STATEMENTS if kind == 'hook' else STEPS), min_size=1, max_size=6)
    )
    body = ''.join(f'        {line}\n' for line in lines)
    if kind == 'hook':
        base = draw(st.sampled_from(['Hook', 'OptimizerHook', 'EvalHook', 'object']))
        method = draw(st.sampled_from(METHODS))
        return f'class A({base}):\n    def {method}(self, runner):\n{body}'
    base = draw(st.sampled_from(['BaseModule', 'nn.Module', 'Sequential', 'A']))
    return f'class M({base}):\n    def train_step(self, data, optimizer):\n{body}'


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(st.lists(_blocks(), min_size=1, max_size=6))
def test_generated_modules_are_converted_once_and_keep_what_is_not_legacy(blocks):
    text = ''.join(['from torch import nn\n', *blocks])
    new = _converted(text)
    for block in blocks:
        if block in PLAIN:
            assert block in new
    for full in _legacy_names(text):
        assert not _stands_unmarked(full, new), f'{full}\n{new}'
        name = full.rpartition('.')[2]
        is_own_name = re.search(rf'import .*\b{name}\b(?! as )', text)
        if is_own_name and home_of(full) is None and f'{name}(' in text and f' {name}(' in new:
            assert advice_for(name).split(':')[0] in new or MARK in new


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.text(alphabet='mcv.runeHok ():\n\t=\'"#\\', max_size=80))
def test_any_text_at_all_gives_a_new_text_or_a_reason(text):
    conversion = convert.convert_source('import mmcv\n' + text)
    if not conversion.error:
        parse(conversion.new)
