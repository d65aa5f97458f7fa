"""The page of schedules: each is stepped as in a training, and its values are drawn."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import torch

from _generate.docstrings import markdown
from mmengine.optim import scheduler as schedulers
from mmengine.registry import PARAM_SCHEDULERS

STEPS = 100
LR = 0.1
# A test holds that no schedule is missing.
SETTINGS: dict[str, dict[str, Any]] = {
    'ConstantLR': dict(factor=0.3, end=30),
    'LinearLR': dict(start_factor=0.1, end=30),
    'StepLR': dict(step_size=30, gamma=0.5),
    'MultiStepLR': dict(milestones=[50, 80], gamma=0.3),
    'ExponentialLR': dict(gamma=0.96),
    'PolyLR': dict(power=2, eta_min=0.005, end=100),
    'CosineAnnealingLR': dict(T_max=100, eta_min=0.001),
    'CosineRestartLR': dict(periods=[20, 30, 50], restart_weights=[1, 0.7, 0.4], eta_min=0.001),
    'OneCycleLR': dict(eta_max=0.1, total_steps=100, pct_start=0.3),
    'ReduceOnPlateauLR': dict(monitor='loss', factor=0.5, patience=5),
}
CHAINS: dict[str, list[dict[str, Any]]] = {
    'Warm-up, then cosine': [
        dict(type='LinearLR', start_factor=0.01, end=10),
        dict(type='CosineAnnealingLR', T_max=90, begin=10, end=100),
    ],
    'Warm-up, then steps': [
        dict(type='LinearLR', start_factor=0.1, end=10),
        dict(type='MultiStepLR', milestones=[40, 70], gamma=0.2),
    ],
    'Two at a time: their factors multiply': [
        dict(type='ExponentialLR', gamma=0.98),
        dict(type='CosineRestartLR', periods=[25] * 4, restart_weights=[1] * 4, eta_min_ratio=0.2),
    ],
}


def classes() -> list[type]:
    """The schedules of the learning rate; each has forms for momentum and for any parameter."""
    return [
        value
        for name, value in vars(schedulers).items()
        if name.endswith('LR') and isinstance(value, type)
    ]


def values(configs: list[dict[str, Any]]) -> list[float]:
    """The learning rate of each step of a training with these schedules."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR, momentum=0.9)
    optimizer.step()
    built = []
    for config in configs:
        acts_on_validations = config['type'] == 'ReduceOnPlateauLR'
        built.append(
            PARAM_SCHEDULERS.build(
                {**config, 'optimizer': optimizer, 'by_epoch': acts_on_validations}
            )
        )
    found = []
    for step in range(STEPS):
        found.append(optimizer.param_groups[0]['lr'])
        for schedule in built:
            if schedule.need_val_args:
                schedule.step({'loss': validation_loss(step)})
            else:
                schedule.step()
    return found


def validation_loss(step: int) -> float:
    """A loss that falls for 40 steps and stays."""
    return max(1 - step / 50, 0.2)


def picture(configs: list[dict[str, Any]]) -> str:
    """The values as SVG; the same text each time."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    grey, blue = '#808890', '#2a7de1'
    settings = {'svg.hashsalt': 'mmengine', 'svg.fonttype': 'none', 'font.size': 9}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(5.4, 1.9), layout='constrained')
        axes = figure.subplots()
        axes.step(range(STEPS), values(configs), where='post', color=blue, linewidth=1.8)
        axes.set_xlim(0, STEPS)
        axes.set_ylim(0, LR * 1.08)
        axes.set_xlabel('step', color=grey)
        axes.set_ylabel('lr', color=grey)
        axes.tick_params(colors=grey)
        for side, spine in axes.spines.items():
            spine.set_color(grey)
            spine.set_visible(side in ('left', 'bottom'))
        text = io.StringIO()
        figure.savefig(text, format='svg', transparent=True, metadata={'Date': None})
    return text.getvalue()


def as_code(config: dict[str, Any]) -> str:
    """A config as it is written in a file."""
    return f'dict({", ".join(f"{key}={value!r}" for key, value in config.items())})'


def _section(title: str, configs: list[dict[str, Any]], summary: str, folder: Path) -> str:
    name = re.sub(r'\W+', '-', title.lower()).strip('-')
    (folder / f'{name}.svg').write_text(picture(configs), encoding='utf-8')
    lines = [f'    {as_code(config)},' for config in configs]
    code = (
        f'param_scheduler = {as_code(configs[0])}'
        if len(configs) == 1
        else '\n'.join(['param_scheduler = [', *lines, ']'])
    )
    return (
        f'## {title}\n\n{summary}```python\n{code}\n```\n\n'
        f'![Learning rate of 100 steps with {title}](schedules/{name}.svg)\n\n'
    )


def write(folder: Path) -> None:
    """Write ``schedules.md`` and its pictures."""
    pictures = folder / 'schedules'
    pictures.mkdir(parents=True, exist_ok=True)
    text = (
        '# All schedules\n\n'
        f'Each picture is drawn from the code: an optimizer with a learning rate of {LR} and '
        f'{STEPS} steps. The class for momentum has the same arguments and ends in `Momentum`; '
        'the class for any other option of a parameter group ends in `ParamScheduler` and takes '
        '`param_name`. Arguments that all of them share are in '
        '[the guide](../guides/schedules.md).\n\n'
    )
    for cls in classes():
        settings = SETTINGS[cls.__name__]
        general = next(base for base in cls.__mro__ if base.__name__.endswith('ParamScheduler'))
        summary = markdown((general.__doc__ or '').split('\n\n')[0])
        if cls.__name__ == 'ReduceOnPlateauLR':
            summary += ' In the picture the loss falls for 40 validations and then stays.'
        text += _section(
            cls.__name__, [dict(type=cls.__name__, **settings)], f'{summary}\n\n', pictures
        )
    text += '## Several together\n\n'
    for title, configs in CHAINS.items():
        text += '#' + _section(title, configs, '', pictures)
    (folder / 'schedules.md').write_text(text, encoding='utf-8')
