"""Both sides of the pages "From ..." train to the weights of a loop by hand.

The other side needs its own environment: ``make test-peers``. Without it that half is skipped.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from guide_blocks import _FILE, blocks_of, unchanged_process
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

START = Path(__file__).parents[2] / 'docs' / 'start'
PYTHONS = {name: os.environ.get(name, '') for name in ('PEERS_PYTHON', 'MMCV_PYTHON')}
PAIRS = [
    ('from_lightning', 'with_lightning.py', 'with_runner.py', 'PEERS_PYTHON'),
    ('from_lightning', 'gan_with_lightning.py', 'gan_with_runner.py', 'PEERS_PYTHON'),
    ('from_hf_trainer', 'with_trainer.py', 'with_runner.py', 'PEERS_PYTHON'),
    ('from_mmcv', 'with_mmcv.py', 'with_runner.py', 'MMCV_PYTHON'),
    ('from_mmengine', 'train.py', 'train.py', 'PEERS_PYTHON'),
]
IDS = [f'{page}-{theirs}' for page, theirs, _, _ in PAIRS]

# Runs a script of a page, and writes down the weights of its `model` and its `accuracy`.
RUN = """
import importlib.util, json, runpy, sys, types
import torch
torch.set_num_threads(1)
has = importlib.util.find_spec
if has('mmcv') and not has('torchvision'):  # MMCV imports it, and uses no name of it here
    sys.modules['torchvision'] = types.ModuleType('torchvision')
names = runpy.run_path(sys.argv[1])
weights = [p.detach().flatten().tolist() for p in names['model'].parameters()]
with open('result.json', 'w') as file:
    json.dump({'weights': weights, 'accuracy': names.get('accuracy')}, file)
"""


@pytest.fixture
def _files(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The files of a page, in the current folder."""
    files = {}
    for block in blocks_of((START / f'{page}.md').read_text(encoding='utf-8')):
        first, _, _ = block.text.partition('\n')
        if block.language in ('python', 'py') and first.endswith('.py'):
            files[first.removeprefix('# ')] = block.text
            (tmp_path / first.removeprefix('# ')).write_text(block.text, encoding='utf-8')
    monkeypatch.chdir(tmp_path)
    with unchanged_process(tmp_path), warnings.catch_warnings():
        yield files


@pytest.mark.parametrize(('page', 'theirs', 'ours', 'python'), PAIRS, ids=IDS)
@pytest.mark.usefixtures('_files')
def test_this_side_has_the_weights_of_the_loop_by_hand(
    page: str, theirs: str, ours: str, python: str
) -> None:
    names = runpy.run_path(ours)
    weights = [param.detach() for param in names['model'].parameters()]
    _compare(weights, names.get('accuracy'), _by_hand(page, ours))


@pytest.mark.parametrize(('page', 'theirs', 'ours', 'python'), PAIRS, ids=IDS)
@pytest.mark.usefixtures('_files')
def test_the_other_side_has_the_weights_of_the_loop_by_hand(
    page: str, theirs: str, ours: str, python: str
) -> None:
    result = _run_there(python, theirs)
    weights = [torch.tensor(values) for values in result['weights']]
    _compare(weights, result['accuracy'], _by_hand(page, ours))


@pytest.mark.parametrize('page', ['from_mmengine'])
@pytest.mark.usefixtures('_files')
def test_a_checkpoint_of_mmengine_is_resumed_to_the_weights_of_the_loop_by_hand(page: str) -> None:
    _run_there('PEERS_PYTHON', 'train.py')
    assert Path('work_dirs/rings/epoch_3.pth').exists()
    from mmengine.config import Config
    from mmengine.runner import Runner

    cfg = Config.fromfile('config.py')
    cfg.resume = 'work_dirs/rings/epoch_3.pth'
    cfg.work_dir = 'work_dirs/resumed'
    runner = Runner.from_cfg(cfg)
    epochs: list[int] = []
    runner.register_hook(_epochs_in(epochs))
    runner.train()
    assert epochs == [3, 4, 5]
    weights = [param.detach() for param in runner.model.parameters()]
    _compare(weights, None, _by_hand(page, 'train.py'))


def _epochs_in(epochs: list[int]) -> Any:
    from mmengine.hooks import Hook

    class Epochs(Hook):
        def before_train_epoch(self, runner: Any) -> None:
            epochs.append(runner.epoch)

    return Epochs()


@pytest.mark.parametrize('page', sorted({page for page, *_ in PAIRS}))
def test_each_block_is_a_file_or_a_command_that_is_run(page: str) -> None:
    scripts = {ours for name, _, ours, _ in PAIRS if name == page}
    for block in blocks_of((START / f'{page}.md').read_text(encoding='utf-8')):
        if block.language == 'python':
            assert _FILE.match(block.text), block.line
        elif block.language == 'bash':
            assert block.text.strip().removeprefix('python ') in scripts, block.line


@pytest.mark.parametrize('page', sorted({page for page, *_ in PAIRS}))
def test_lines_of_the_columns_fit(page: str) -> None:
    text = (START / f'{page}.md').read_text(encoding='utf-8')
    for columns in text.split('<div class="sides">')[1:]:
        for block in blocks_of(columns.partition('</div>\n</div>')[0]):
            if _FILE.match(block.text):
                assert [line for line in block.text.splitlines() if len(line) > 60] == []


def _run_there(python: str, script: str) -> dict[str, Any]:
    """What a script of the page gives in the environment of the other engine."""
    if not PYTHONS[python]:
        pytest.skip(f'{python} is not set: make test-peers')
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ('PYTHONPATH', 'PYTHONWARNINGS')
    }
    env.update(HF_HUB_OFFLINE='1', CUDA_VISIBLE_DEVICES='')
    done = subprocess.run(
        [PYTHONS[python], '-W', 'ignore', '-c', RUN, script],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(Path('result.json').read_text())


def _compare(
    weights: list[Tensor], accuracy: float | None, expected: tuple[list[Tensor], float | None]
) -> None:
    """The weights are equal up to rounding, and so is the accuracy where there is one."""
    assert len(weights) == len(expected[0])
    for found, wanted in zip(weights, expected[0], strict=True):
        torch.testing.assert_close(found.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-6)
    if accuracy is not None:
        assert accuracy == pytest.approx(expected[1], abs=1e-6)
        assert accuracy > 0.6  # one that guesses has 0.5


def _by_hand(page: str, script: str) -> tuple[list[Tensor], float | None]:
    """The weights after the same training in plain PyTorch, and the accuracy with them."""
    sys.modules.pop('task', None)
    import task

    if script.startswith('gan'):
        return _gan_by_hand(task), None
    net = task.make_net()
    if page == 'from_hf_trainer':
        optimizer: Any = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.0)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    step = 0
    for epoch in range(6):
        for index, batch in enumerate(task.train_loader):
            loss = cross_entropy(net(batch['points']), batch['labels']) / 2
            loss.backward()
            if index % 2 == 0:
                continue
            # 24 steps in all: linear to zero, or halved after three epochs.
            lr = 0.01 * (24 - step) / 24 if page == 'from_hf_trainer' else 0.1 * 0.5 ** (epoch // 3)
            optimizer.param_groups[0]['lr'] = lr
            nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    assert step == 24
    with torch.no_grad():
        right = [net(b['points']).argmax(1) == b['labels'] for b in task.val_loader]
    weights = [param.detach() for param in net.parameters()]
    return weights, torch.cat(right).float().mean().item()


def _gan_by_hand(task: Any) -> list[Tensor]:
    torch.manual_seed(0)
    generator = nn.Linear(4, 2)
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    random = torch.Generator().manual_seed(0)
    of_generator = torch.optim.Adam(generator.parameters(), lr=1e-3)
    of_discriminator = torch.optim.Adam(discriminator.parameters(), lr=4e-3)
    for _ in range(2):
        for batch in task.train_loader:
            real = batch['points']
            made = generator(torch.randn(len(real), 4, generator=random)).detach()
            on_real, on_made = discriminator(real), discriminator(made)
            of_discriminator.zero_grad()
            (softplus(-on_real) + softplus(on_made)).mean().backward()
            of_discriminator.step()
            made = generator(torch.randn(len(real), 4, generator=random))
            of_generator.zero_grad()
            softplus(-discriminator(made)).mean().backward()
            of_generator.step()
    return [param.detach() for param in (*generator.parameters(), *discriminator.parameters())]
