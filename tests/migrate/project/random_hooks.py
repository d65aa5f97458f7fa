"""Hooks drawn at random, for the projects beside this file."""

_HEAD = '''\
"""Hooks."""

from mmcv.runner import HOOKS, Hook, LrUpdaterHook, OptimizerHook
from mmcv.runner import GradientCumulativeOptimizerHook
from torch.nn.utils import clip_grad

from .notes import note
'''
_OF_ITERATIONS = ('before_train_iter', 'after_train_iter', 'before_iter', 'after_iter')
_OF_EPOCHS = ('before_train_epoch', 'after_train_epoch', 'before_epoch', 'after_epoch')
_OF_RUNS = ('before_run', 'after_run')
_PRIORITIES = ('', '', '', 'NORMAL', 'BELOW_NORMAL', 'LOW', 'VERY_LOW', 'LOWEST', '45', '75')
_RARE_PRIORITIES = ('HIGHEST', 'VERY_HIGH', 'HIGH', 'ABOVE_NORMAL', '35')


def kinds(draw, *, is_gan, by_epoch, is_wrapped):
    """Classes of hooks by name: their text."""
    names = draw.sample(['Counts', 'Turns', 'Watches', 'Looks', 'Keeps'], draw.choice([1, 2, 2, 3]))
    return {
        name: _hook(draw, name, is_gan=is_gan, by_epoch=by_epoch, is_wrapped=is_wrapped)
        for name in names
    }


def module(found):
    """The module of these classes."""
    return _HEAD + ''.join(found.values())


def priority(draw):
    """A priority as configs name it; empty for none."""
    return draw.choice(_PRIORITIES if draw.random() < 0.9 else _RARE_PRIORITIES)


def registered(draw, kind, given):
    """The statement that registers a hook."""
    if not given:
        return f'runner.register_hook({kind}())'
    text = given if given.isdigit() else repr(given)
    return f'runner.register_hook({kind}(), {"" if draw.random() < 0.5 else "priority="}{text})'


def updaters(draw, schedule, *, steps_itself):
    """The text of an optimizer hook and a learning rate hook of the project's own, if drawn.

    ``schedule`` names them then.
    """
    found = []
    if not steps_itself and draw.random() < 0.2:
        name = draw.choice(list(_OPTIMIZER_HOOKS))
        found.append(_OPTIMIZER_HOOKS[name])
        options = draw.choice(['', ', grad_clip=dict(max_norm=0.3)'])
        schedule['optimizer_config'] = f"dict(type='{name}'{options})"
    if draw.random() < 0.15:
        found.append(_LR_HOOKS)
        warmup = draw.choice(['', ", warmup='linear', warmup_iters=3, warmup_ratio=0.1"])
        by_epoch = draw.choice(['', ', by_epoch=False'])
        schedule['lr_config'] = f"dict(policy='Waves', depth=0.25{warmup}{by_epoch})"
    return found


_LR_HOOKS = """

@HOOKS.register_module()
class WavesLrUpdaterHook(LrUpdaterHook):
    def __init__(self, depth=0.5, **kwargs):
        self.depth = depth
        super().__init__(**kwargs)

    def get_lr(self, runner, base_lr):
        progress = runner.epoch if self.by_epoch else runner.iter
        return base_lr * (1 + self.depth * (progress % 2))
"""
_OPTIMIZER_HOOKS = {
    'PlainOptimizerHook': """

@HOOKS.register_module()
class PlainOptimizerHook(OptimizerHook):
    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        runner.outputs['loss'].backward()
        if self.grad_clip is not None:
            grad_norm = self.clip_grads(runner.model.parameters())
            if grad_norm is not None:
                runner.log_buffer.update(
                    {'grad_norm': float(grad_norm)}, runner.outputs['num_samples']
                )
        runner.optimizer.step()
""",
    'ScaledOptimizerHook': """

@HOOKS.register_module()
class ScaledOptimizerHook(OptimizerHook):
    def __init__(self, scale=0.5, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        (self.scale * runner.outputs['loss']).backward()
        if self.grad_clip is not None:
            self.clip_grads(runner.model.parameters())
        runner.optimizer.step()
""",
    'ValueOptimizerHook': """

@HOOKS.register_module()
class ValueOptimizerHook(OptimizerHook):
    def clip_grads(self, params):
        params = [one for one in params if one.grad is not None]
        return clip_grad.clip_grad_value_(params, 0.1)
""",
    'EverySecondOptimizerHook': """

@HOOKS.register_module()
class EverySecondOptimizerHook(OptimizerHook):
    def after_train_iter(self, runner):
        runner.outputs['loss'].backward()
        if self.every_n_iters(runner, 2):
            runner.optimizer.step()
            runner.optimizer.zero_grad()
""",
    'TripleOptimizerHook': """

@HOOKS.register_module()
class TripleOptimizerHook(GradientCumulativeOptimizerHook):
    def __init__(self, **kwargs):
        super().__init__(cumulative_iters=3, **kwargs)
""",
}


def _hook(draw, name, *, is_gan, by_epoch, is_wrapped):
    methods = draw.sample(_OF_ITERATIONS, draw.choice([1, 1, 2]))
    of_epochs = _OF_EPOCHS if by_epoch or draw.random() < 0.1 else _OF_EPOCHS[2:]
    methods += draw.sample(of_epochs, draw.choice([0, 1, 1, 2]))
    methods += draw.sample(_OF_RUNS, draw.choice([0, 0, 1]))
    own = f'{"every" if draw.random() < 0.5 else "period"}'
    text = f"""

@HOOKS.register_module()
class {name}(Hook):
    def __init__(self, {own}={draw.choice([1, 2, 3])}):
        self.{own} = {own}
        self.count = 0
"""
    for method in methods:
        lines = _body(draw, name, method, own, is_gan, by_epoch, is_wrapped)
        text += f'\n    def {method}(self, runner):\n' + ''.join(
            f'        {line}\n' for line in lines
        )
    return text


def _body(draw, name, method, own, is_gan, by_epoch, is_wrapped):
    values = _values(method, is_gan, by_epoch, own)
    if not by_epoch and draw.random() < 0.9:
        # What a run of iterations counts otherwise here.
        values = [one for one in values if 'epoch' not in one and 'inner' not in one]
    seen = draw.sample(values, min(draw.choice([1, 2, 2, 3]), len(values)))
    lines = [f"note('{name}.{method}', {', '.join(seen)})"]
    model = 'runner.model.module' if is_wrapped else 'runner.model'
    shift = f'{model}.gen.shift' if is_gan else f'{model}.shift'
    chance = draw.random()
    amount = draw.choice(values)
    if chance < 0.3:
        lines.append(f'{shift}.data += 0.001 * float({amount})')
    elif chance < 0.45:
        lines += ['self.count += 1', f'{shift}.data *= 1 - 0.01 * self.count']
    elif chance < 0.55 and method not in _OF_RUNS:
        lines = [f'if self.every_n_iters(runner, self.{own}):', *(f'    {line}' for line in lines)]
    elif chance < 0.58:
        lines += _rare(draw, method, is_gan, shift)
    return lines


def _values(method, is_gan, by_epoch, own):
    rate = "runner.current_lr()['gen'][0]" if is_gan else 'runner.current_lr()[0]'
    group = "runner.optimizer['gen']" if is_gan else 'runner.optimizer'
    values = ['runner.iter', 'runner.epoch', 'self.count', rate]
    values += [
        f"{group}.param_groups[0]['lr']",
        'runner.max_epochs' if by_epoch else 'runner.max_iters',
    ]
    if method in _OF_RUNS:
        return values
    values += ['self.is_last_epoch(runner)', f'self.every_n_epochs(runner, self.{own})']
    if by_epoch:
        values += ['runner.max_iters', 'len(runner.data_loader)']
    if method in _OF_EPOCHS:
        return values
    values += [
        'len(runner.data_loader)', 'runner.inner_iter', "runner.data_batch['x'].sum()",
        'self.is_last_iter(runner)',
        f'self.every_n_iters(runner, self.{own})', 'self.end_of_epoch(runner)',
        f'self.every_n_inner_iters(runner, self.{own})',
    ]  # fmt: skip
    if method.startswith('after'):
        values += ["runner.outputs['log_vars']['loss']", "runner.outputs['num_samples']"]
        values += [] if is_gan else ["runner.outputs['loss']"]
    return values


def _rare(draw, method, is_gan, shift):
    """What is done seldom, and often means something else here."""
    group = "runner.optimizer['disc']" if is_gan else 'runner.optimizer'
    options = [
        [f'for group in {group}.param_groups:', "    group['lr'] *= 0.5"],
        [f'for group in {group}.param_groups:', "    group['weight_decay'] = 0.1"],
        ["runner.meta['count'] = self.count"],
        [f'{shift}.requires_grad = runner.iter % 2 == 0'],
    ]
    if method.startswith('after') and method in _OF_ITERATIONS:
        options += [
            [f"note('grad', 0.0 if {shift}.grad is None else {shift}.grad.sum())"],
            ["runner.log_buffer.update({'count': float(self.count)}, 2)"],
        ]
        if not is_gan:
            options += [["runner.outputs['loss'] = runner.outputs['loss'] * 2"]]
    return draw.choice(options)
