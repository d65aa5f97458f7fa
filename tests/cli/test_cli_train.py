"""``mmengine train`` in this process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmengine.cli.__main__ import main
from mmengine.cli.train import with_amp
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError

X = torch.arange(8.0) / 8


def slope_after(epochs: int, slope: float = 0.5, lr: float = 0.1) -> float:
    """By hand: the gradient of mean((w x - 2 x)^2) over a batch of four is 2 (w - 2) mean(x^2)."""
    for _ in range(epochs):
        for x in X.split(4):
            slope -= lr * 2 * (slope - 2) * float((x**2).mean())
    return slope


def weight_in(checkpoint: Path) -> float:
    return float(torch.load(checkpoint, weights_only=True)['state_dict']['weight'])


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Runner]:
    """The runners that commands build; their training is left out."""
    made: list[Runner] = []
    monkeypatch.setattr(Runner, 'train', lambda runner: made.append(runner))
    return made


def test_a_run_writes_config_log_scalars_and_checkpoint_to_work_dirs(project: Path) -> None:
    assert main(['train', 'toy.py']) == 0
    folder = project / 'work_dirs' / 'toy'
    (start,) = (path for path in folder.iterdir() if path.is_dir())
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        'checkpoints.jsonl', 'epoch_1.pth', 'epoch_1.pth.after_val', 'last_checkpoint', 'toy.py',
    ]  # fmt: skip
    assert (start / f'{start.name}.log').is_file()
    assert (start / 'vis_data' / 'scalars.json').is_file()
    assert weight_in(folder / 'epoch_1.pth') == pytest.approx(slope_after(1))


def test_the_end_of_a_run_says_where_things_are(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = 'default_hooks.checkpoint'
    options = ['--cfg-options', f'{checkpoint}.save_best=slope', f'{checkpoint}.rule=greater']
    main(['train', 'toy.py', '--work-dir', 'here', *options])
    printed = capsys.readouterr().out.splitlines()
    last_lines = {line[:16].strip(): line[17:] for line in printed[-7:]}
    best = str(project / 'here' / 'best_slope_epoch_1.pth')
    assert last_lines['Best'] == f'slope {slope_after(1):.4g}'
    assert 'Time' in last_lines
    assert last_lines['Work dir'] == str(project / 'here')
    assert Path(last_lines['Log and scalars']).parent == project / 'here'
    assert last_lines['Last checkpoint'] == str(project / 'here' / 'epoch_1.pth')
    assert last_lines['Best checkpoint'] == best
    # The same work dir, and the settings, with which the model was built.
    words = ['mmengine', 'test', 'toy.py', best, '--work-dir', 'here', *options]
    assert last_lines['Next'] == ' '.join(words)


@pytest.mark.parametrize(
    ('in_config', 'option', 'expected'),
    [
        (None, None, 'work_dirs/toy'),
        ('mine', None, 'mine'),
        ('mine', 'theirs', 'theirs'),
    ],
    ids=['default', 'config', 'option over config'],
)
def test_the_work_dir_is_the_options_then_the_configs_then_named_by_the_file(
    project: Path,
    built: list[Runner],
    in_config: str | None,
    option: str | None,
    expected: str,
) -> None:
    if in_config:
        with (project / 'toy.py').open('a') as file:
            file.write(f'work_dir = {in_config!r}\n')
    main(['train', 'toy.py', *(['--work-dir', option] if option else [])])
    assert built[0].work_dir == str(project / expected)


def test_cfg_options_change_the_config(project: Path, built: list[Runner]) -> None:
    main(['train', 'toy.py', '--cfg-options', 'model.slope=1.5', 'extra=[1,(2,x)]'])
    assert float(built[0].model.weight.detach()) == 1.5
    assert built[0].cfg.extra == [1, (2, 'x')]


def test_resume_goes_on_from_the_newest_checkpoint(project: Path) -> None:
    main(['train', 'toy.py'])
    main(['train', 'toy.py', '--resume', '--cfg-options', 'train_cfg.max_epochs=3'])
    assert weight_in(project / 'work_dirs/toy/epoch_3.pth') == pytest.approx(slope_after(3))


def test_resume_goes_on_from_a_given_checkpoint(project: Path) -> None:
    main(['train', 'toy.py', '--work-dir', 'a'])
    main(['train', 'toy.py', '--work-dir', 'b', '--resume', 'a/epoch_1.pth', '--cfg-options',
          'train_cfg.max_epochs=2'])  # fmt: skip
    assert not (project / 'b/epoch_1.pth').exists()
    assert weight_in(project / 'b/epoch_2.pth') == pytest.approx(slope_after(2))


def test_resume_with_says_what_wins(project: Path) -> None:
    main(['train', 'toy.py', '--work-dir', 'a'])
    changed = ['train_cfg.max_epochs=2', 'optim_wrapper.optimizer.lr=0.2']
    main(['train', 'toy.py', '--work-dir', 'b', '--resume', 'a/epoch_1.pth', '--cfg-options',
          *changed])  # fmt: skip
    after_one = slope_after(1)
    assert weight_in(project / 'b/epoch_2.pth') == pytest.approx(slope_after(1, after_one, 0.2))
    main(['train', 'toy.py', '--work-dir', 'c', '--resume', 'a/epoch_1.pth', '--cfg-options',
          *changed, '--resume-with', 'optimizer=checkpoint'])  # fmt: skip
    assert weight_in(project / 'c/epoch_2.pth') == pytest.approx(slope_after(2))


def test_resume_with_joins_what_the_config_has(project: Path, built: list[Runner]) -> None:
    main(['train', 'toy.py', '--resume-with', 'on_change=error', 'again=True', '--cfg-options',
          'resume.schedule=config'])  # fmt: skip
    request = built[0].state.resume_request
    assert (request.enabled, request.path) == (True, None)
    assert (request.schedule, request.on_change, request.again) == ('config', 'error', True)


def test_resume_keeps_the_weights_to_begin_with(project: Path, built: list[Runner]) -> None:
    main(['train', 'toy.py', '--resume', '--cfg-options', 'load_from=first.pth'])
    assert (built[0]._load_from, built[0]._resume) == ('first.pth', 'auto')


def test_amp_trains_with_the_amp_wrapper(project: Path) -> None:
    assert main(['train', 'toy.py', '--amp', 'bf16']) == 0
    saved = torch.load(project / 'work_dirs/toy/epoch_1.pth', weights_only=True)
    assert 'loss_scaler' in saved['optimizer']


@pytest.mark.parametrize(
    ('dtype', 'expected'), [('float16', {'dtype': 'float16'}), (None, {})], ids=['given', 'default']
)
def test_amp_changes_type_and_precision_alone(dtype: str | None, expected: dict[str, str]) -> None:
    given = {'optimizer': {'type': 'SGD', 'lr': 1}, 'accumulative_counts': 2}
    assert with_amp(given, dtype) == {**given, 'type': 'mmengine.AmpOptimWrapper', **expected}
    assert 'type' not in given


@pytest.mark.parametrize(
    'kind', ['OptimWrapper', 'mmengine.OptimWrapper', OptimWrapper, AmpOptimWrapper]
)
def test_amp_knows_the_wrapper_by_name_and_by_class(kind: object) -> None:
    assert with_amp({'type': kind, 'optimizer': {}}, None)['type'] == 'mmengine.AmpOptimWrapper'


def test_amp_changes_each_of_several_wrappers() -> None:
    given = {
        'generator': {'optimizer': {'type': 'SGD'}},
        'discriminator': {'optimizer': {'type': 'Adam'}, 'accumulative_counts': 3},
        'constructor': 'OwnConstructor',
    }
    amp = {'type': 'mmengine.AmpOptimWrapper', 'dtype': 'bfloat16'}
    assert with_amp(given, 'bfloat16') == {
        'generator': {'optimizer': {'type': 'SGD'}, **amp},
        'discriminator': {'optimizer': {'type': 'Adam'}, 'accumulative_counts': 3, **amp},
        'constructor': 'OwnConstructor',
    }


def test_amp_refuses_a_wrapper_of_another_kind() -> None:
    with pytest.raises(ArgumentError, match='ApexOptimWrapper'):
        with_amp({'type': 'ApexOptimWrapper', 'optimizer': {}}, None)


def test_auto_scale_lr_scales_by_the_real_batch_size(project: Path) -> None:
    options = ['--cfg-options', 'auto_scale_lr.base_batch_size=8', 'auto_scale_lr.enable=False']
    main(['train', 'toy.py', '--auto-scale-lr', *options])
    # Batches of 4 where the rate 0.1 is for 8.
    assert weight_in(project / 'work_dirs/toy/epoch_1.pth') == pytest.approx(
        slope_after(1, lr=0.05)
    )


def test_seed_sets_the_seed_alone(project: Path, built: list[Runner]) -> None:
    options = ['--cfg-options', 'randomness.seed=1', 'randomness.deterministic=False']
    main(['train', 'toy.py', '--seed', '7', *options])
    assert built[0].seed == 7
    assert built[0].cfg.randomness == {'seed': 7, 'deterministic': False}


def test_modules_of_the_current_folder_can_be_imported(project: Path) -> None:
    (project / 'own_code.py').write_text(
        'from mmengine.registry import MODELS\n'
        'from cli_toy_project import ToyLine\n'
        '@MODELS.register_module()\n'
        'class OwnLine(ToyLine):\n'
        '    pass\n'
    )
    code = 'import sys; from mmengine.cli.__main__ import main; sys.exit(main())'
    search_path = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    # -P keeps Python itself from putting the current folder on the path.
    flags = ['-P'] if sys.version_info >= (3, 11) else []
    options = ['model.type=OwnLine', 'custom_imports.imports=[cli_toy_project,own_code]']
    done = subprocess.run(
        [sys.executable, *flags, '-c', code, 'train', 'toy.py', '--cfg-options', *options],
        env={**os.environ, 'PYTHONPATH': search_path},
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'Last checkpoint' in done.stdout


def test_a_terminal_gets_the_progress_display(
    project: Path, built: list[Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    main(['train', 'toy.py'])
    assert [type(hook).__name__ for hook in built[0].hooks].count('ProgressHook') == 1


def test_a_progress_hook_of_the_config_stays_the_only_one(
    project: Path, built: list[Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (project / 'toy.py').open('a') as file:
        file.write("custom_hooks = [dict(type='ProgressHook')]\n")
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    main(['train', 'toy.py'])
    assert [type(hook).__name__ for hook in built[0].hooks].count('ProgressHook') == 1


def test_a_pipe_gets_plain_lines(project: Path, built: list[Runner]) -> None:
    main(['train', 'toy.py'])
    assert 'ProgressHook' not in [type(hook).__name__ for hook in built[0].hooks]
