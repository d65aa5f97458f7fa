"""A user's mistake gets a sentence and exit code 2; a failure of the code keeps its traceback."""

import importlib
import os
import stat
from pathlib import Path

import pytest
import torch

from mmengine.cli import failures
from mmengine.cli.__main__ import main

CaptureFixture = pytest.CaptureFixture[str]
ADDED_LINE = 'toy.py:12'


def message_of(capsys: CaptureFixture, *words: str) -> str:
    """What the command says on its error stream; it must have told a mistake in a sentence."""
    assert main(words) == 2
    message = capsys.readouterr().err
    assert 'Traceback' not in message
    assert message.startswith(f'mmengine {words[0]}: error: ')
    return message


def add_lines(project: Path, lines: str) -> None:
    with (project / 'toy.py').open('a') as file:
        file.write(lines + '\n')


# The config file


def test_a_missing_config_names_its_neighbours(project: Path, capsys: CaptureFixture) -> None:
    assert "'toi.py'" in (message := message_of(capsys, 'train', 'toi.py'))
    assert "'toy.py'" in message


def test_a_syntax_error_names_file_and_line(project: Path, capsys: CaptureFixture) -> None:
    (project / 'bad.py').write_text('a = 1\nb = = 2\n')
    assert 'bad.py:2: ' in message_of(capsys, 'train', 'bad.py')


def test_an_error_in_the_configs_code_names_file_and_line(
    project: Path, capsys: CaptureFixture
) -> None:
    (project / 'bad.py').write_text('a = 1\nb = undefined_name\n')
    assert 'bad.py:2: ' in (message := message_of(capsys, 'train', 'bad.py'))
    assert 'undefined_name' in message


def test_a_circle_of_bases_is_shown(project: Path, capsys: CaptureFixture) -> None:
    (project / 'a.py').write_text("_base_ = './b.py'\n")
    (project / 'b.py').write_text("_base_ = './a.py'\n")
    message = message_of(capsys, 'train', 'a.py')
    assert 'a.py' in message
    assert 'b.py' in message


def test_a_key_in_two_bases_is_named(project: Path, capsys: CaptureFixture) -> None:
    (project / 'a.py').write_text('lr = 1\n')
    (project / 'b.py').write_text('lr = 2\n')
    (project / 'c.py').write_text("_base_ = ['./a.py', './b.py']\n")
    assert "'lr'" in message_of(capsys, 'config', 'show', 'c.py')


def test_a_missing_base_is_named(project: Path, capsys: CaptureFixture) -> None:
    (project / 'a.py').write_text("_base_ = './none.py'\n")
    assert 'none.py' in message_of(capsys, 'config', 'diff', 'a.py', 'toy.py')


def test_a_module_that_cannot_be_imported_is_named(project: Path, capsys: CaptureFixture) -> None:
    add_lines(project, "custom_imports = dict(imports=['not_installed_here'])")
    message = message_of(capsys, 'train', 'toy.py')
    assert ADDED_LINE in message
    assert 'not_installed_here' in message


def test_an_option_without_value_is_wrong_usage(project: Path, capsys: CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(['train', 'toy.py', '--cfg-options', 'model.slope'])
    assert exit_.value.code == 2
    assert "takes key=value, got 'model.slope'" in capsys.readouterr().err


def test_an_option_for_an_index_that_a_list_lacks_is_told(
    project: Path, capsys: CaptureFixture
) -> None:
    add_lines(project, 'numbers = [1, 2]')
    options = ['--cfg-options', 'numbers.5=3']
    assert 'numbers' in message_of(capsys, 'train', 'toy.py', *options)


def test_an_unknown_option_is_wrong_usage(project: Path, capsys: CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(['train', 'toy.py', '--work_dirs', 'a'])
    assert exit_.value.code == 2


# What the config says


@pytest.mark.parametrize(
    ('lines', 'told'),
    [
        ("model = dict(type='ToyLin')", ["'ToyLin'", ADDED_LINE, "'ToyLine'", "'model' registry"]),
        ("model = dict(type='ToyLine', slop=1)", ["'slop'", 'ToyLine', ADDED_LINE, "'slope'"]),
        ('model = dict(slope=1)', ['"type"', ADDED_LINE]),
        ('model = None', ['model']),
        ('val_evaluator = None', ['validation', 'val_dataloader', 'val_evaluator missing']),
        ('val_cfg = None', ['val_cfg missing']),
        ('train_cfg = None', ['training', 'train_cfg missing']),
        ('optim_wrapper = None', ['optim_wrapper missing']),
        ('test_evaluator = None', ['testing', 'test_evaluator missing']),
        (
            'default_hooks = dict(logger=dict(interval=0))',
            ['interval', '0', 'LoggerHook', ADDED_LINE],
        ),
        (
            'default_hooks = dict(checkpoint=dict(interval=0))',
            ['interval', '0', 'CheckpointHook', ADDED_LINE],
        ),
        ('train_cfg = dict(max_epochs=0)', ['max_epochs', '0', ADDED_LINE]),
        ('train_cfg = dict(max_epochs=1, val_interval=0)', ['val_interval', '0']),
        (
            "optim_wrapper = dict(optimizer=dict(type='SGD', lr=-1))",
            ['Invalid learning rate: -1', 'SGD', ADDED_LINE],
        ),
        (
            "optim_wrapper = dict(accumulative_count=2, optimizer=dict(type='SGD', lr=1))",
            ["'accumulative_counts'", ADDED_LINE],
        ),
        ("optim_wrapper = dict(optimizer=dict(type='SGDD', lr=1))", ["'SGDD'", "'SGD'"]),
        (
            "optim_wrapper = dict(optimizer=dict(type='SGD', lr=1, momentun=0))",
            ["'momentun'", "'momentum'", ADDED_LINE],
        ),
        (
            "train_dataloader = dict(batch_sise=4, dataset=dict(type='ToyPairs'))",
            ['batch_sise', 'batch_size'],
        ),
        ('train_dataloader = dict(batch_size=4)', ['dataset']),
        ("launcher = 'pytorhc'", ['pytorhc', 'pytorch']),
        ("param_scheduler = dict(type='MultiStepLR')", ["'milestones'", 'MultiStepLR', ADDED_LINE]),
        ('default_hooks = dict(chekpoint=dict(interval=1))', ["'chekpoint'"]),  # codespell:ignore
        ("model = dict(type='ToyWithoutMode')", ['ToyWithoutMode.forward', 'mode']),
        ("model = dict(type='ToyWithoutTensor')", ["'loss'", 'float']),
    ],
    ids=lambda value: value.split(' = ')[0] if isinstance(value, str) else '',
)
def test_a_wrong_value_is_named_where_it_is_known(
    project: Path, capsys: CaptureFixture, lines: str, told: list[str]
) -> None:
    add_lines(project, lines)
    message = message_of(capsys, 'train', 'toy.py')
    assert [part for part in told if part not in message] == [], message


def test_a_config_without_anything_to_test_says_so(project: Path, capsys: CaptureFixture) -> None:
    torch.save({}, project / 'weights.pth')
    add_lines(project, 'test_dataloader = test_cfg = test_evaluator = None')
    assert 'nothing to test' in message_of(capsys, 'test', 'toy.py', 'weights.pth')


def test_amp_without_optimizer_is_told(project: Path, capsys: CaptureFixture) -> None:
    add_lines(project, 'optim_wrapper = None')
    assert '--amp' in message_of(capsys, 'train', 'toy.py', '--amp')


def test_auto_scale_lr_without_base_batch_size_is_told(
    project: Path, capsys: CaptureFixture
) -> None:
    assert 'base_batch_size' in message_of(capsys, 'train', 'toy.py', '--auto-scale-lr')


def test_results_go_to_a_pickle_file_only(project: Path, capsys: CaptureFixture) -> None:
    torch.save({'state_dict': {}}, project / 'weights.pth')
    message = message_of(capsys, 'test', 'toy.py', 'weights.pth', '--out', 'results.json')
    assert 'results.json' in message
    assert '.pkl' in message


# Files


@pytest.mark.parametrize(
    'words', [['test', 'toy.py', 'none.pth'], ['train', 'toy.py', '--resume', 'none.pth']]
)
def test_a_missing_checkpoint_is_told_before_anything_is_built(
    project: Path, capsys: CaptureFixture, words: list[str]
) -> None:
    torch.save({}, project / 'other.pth')
    message = message_of(capsys, *words)
    assert 'none.pth' in message
    assert 'other.pth' in message
    assert not (project / 'work_dirs').exists()


def test_a_truncated_checkpoint_is_told(project: Path, capsys: CaptureFixture) -> None:
    torch.save({'state_dict': {'weight': torch.ones(1000)}}, project / 'cut.pth')
    os.truncate(project / 'cut.pth', 700)
    message = message_of(capsys, 'test', 'toy.py', 'cut.pth')
    assert 'cut.pth' in message
    assert 'truncated' in message


def test_a_checkpoint_with_other_weights_too_is_summed_up_and_the_run_goes_on(
    project: Path, capsys: CaptureFixture
) -> None:
    state = {'weight': torch.ones(1), 'other': torch.ones(3)}
    torch.save({'state_dict': state}, project / 'other.pth')
    assert main(['test', 'toy.py', 'other.pth']) == 0
    printed = capsys.readouterr()
    assert 'do not match exactly' in printed.out + printed.err


def test_a_work_dir_that_is_a_file_is_told(project: Path, capsys: CaptureFixture) -> None:
    (project / 'taken').write_text('')
    assert 'taken' in message_of(capsys, 'train', 'toy.py', '--work-dir', 'taken')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_a_work_dir_that_cannot_be_written_is_told(project: Path, capsys: CaptureFixture) -> None:
    (project / 'sealed').mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    assert 'sealed' in message_of(capsys, 'train', 'toy.py', '--work-dir', 'sealed/run')


# Failures


def test_a_non_finite_loss_fails_the_run_with_a_sentence(
    project: Path, capsys: CaptureFixture
) -> None:
    add_lines(project, "model = dict(type='ToyInfinite')")
    assert main(['train', 'toy.py']) == 1
    message = capsys.readouterr().err
    assert 'loss' in message
    assert 'iteration 1 ' in message
    assert 'Traceback' not in message


def test_a_bug_in_the_users_code_keeps_its_traceback(project: Path) -> None:
    add_lines(project, "model = dict(type='ToyLine', bug=True)")
    with pytest.raises(AttributeError, match='nonexistent'):
        main(['train', 'toy.py'])


def test_a_value_that_a_component_of_the_user_refuses_is_a_sentence(
    project: Path, capsys: CaptureFixture
) -> None:
    (project / 'choosy.py').write_text(
        'from cli_toy_project import ToyPairs\n'
        'class Choosy(ToyPairs):\n'
        '    def __init__(self, split):\n'
        "        if split != 'train':\n"
        "            raise ValueError(f'split is train, got {split}.')\n"
        'class Buggy(ToyPairs):\n'
        '    def __init__(self):\n'
        "        int('a')\n"
    )
    add_lines(project, "train_dataloader = dict(dataset=dict(type='choosy.Choosy', split='tarin'))")
    message = message_of(capsys, 'train', 'toy.py')
    assert 'split is train, got tarin.' in message
    assert 'choosy.Choosy' in message
    assert ADDED_LINE in message
    add_lines(project, "train_dataloader = dict(dataset=dict(type='choosy.Buggy'))")
    with pytest.raises(ValueError, match='invalid literal'):
        main(['train', 'toy.py'])


def test_an_error_that_user_code_gets_from_this_package_keeps_its_traceback(project: Path) -> None:
    (project / 'failing_hook.py').write_text(
        'from mmengine.hooks import CheckpointHook, Hook\n'
        'class FailingHook(Hook):\n'
        '    def before_train(self, runner):\n'
        '        CheckpointHook(interval=0)\n'
    )
    add_lines(project, "custom_hooks = [dict(type='failing_hook.FailingHook')]")
    with pytest.raises(ValueError, match='interval'):
        main(['train', 'toy.py'])


@pytest.mark.parametrize('how', ['option', 'environment'])
def test_the_traceback_of_a_mistake_is_shown_when_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    words = ['train', 'none.py']
    if how == 'option':
        words.append('--traceback')
    else:
        monkeypatch.setenv('MMENGINE_TRACEBACK', '1')
    with pytest.raises(FileNotFoundError):
        main(words)


def test_ctrl_c_ends_with_the_shells_code_for_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: CaptureFixture
) -> None:
    from mmengine.runner import Runner

    def interrupt(runner: Runner) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, 'train', interrupt)
    assert main(['train', 'toy.py']) == 130
    assert 'Interrupted' in capsys.readouterr().err


@pytest.mark.parametrize('name', failures.SELF_EXPLAINING)
def test_errors_known_by_name_exist(name: str) -> None:
    module, _, attribute = name.rpartition('.')
    error = getattr(importlib.import_module(module), attribute)
    assert issubclass(error, Exception)
    assert f'{error.__module__}.{error.__qualname__}' == name, 'errors are compared by this name'


# Options that create keys


def test_an_option_that_creates_a_key_nothing_reads_is_a_warning(
    project: Path, capsys: CaptureFixture
) -> None:
    assert main(['train', 'toy.py', '--cfg-options', 'max_epochs=3']) == 0
    message = capsys.readouterr().err
    assert "mmengine: warning: The option 'max_epochs' creates the new key 'max_epochs'" in message


def test_an_option_that_creates_a_key_is_an_error_if_the_config_is_strict(
    project: Path, capsys: CaptureFixture
) -> None:
    add_lines(project, 'strict_config = True')
    message = message_of(
        capsys,
        'train',
        'toy.py',
        '--cfg-options',
        'optim_wrapper.optimzer.lr=0.5',  # codespell:ignore
    )
    assert "Did you mean 'optimizer'?" in message
    assert not (project / 'work_dirs').exists()


def test_options_of_known_keys_print_nothing(project: Path, capsys: CaptureFixture) -> None:
    words = ['train', 'toy.py', '--cfg-options', 'randomness.seed=1', 'train_cfg.max_epochs=1']
    assert main(words) == 0
    assert 'warning' not in capsys.readouterr().err


# The data


@pytest.mark.parametrize('stage', ['train', 'val'])
def test_a_label_that_is_not_a_class_is_told(
    project: Path, capsys: CaptureFixture, stage: str
) -> None:
    """Five labels for a network with three scores; a training, and a validation before it."""
    (project / 'labels.py').write_text(
        'import torch\n'
        'from torch.utils.data import Dataset\n'
        'class Labels(Dataset):\n'
        '    def __init__(self, num_classes):\n'
        '        self.num_classes = num_classes\n'
        '    def __len__(self):\n'
        '        return 5\n'
        '    def __getitem__(self, index):\n'
        '        return torch.ones(2), index % self.num_classes\n'
    )
    numbers = {'train': 3, 'val': 3, stage: 5}
    loader = "dict(dataset=dict(type='labels.Labels', num_classes={}), batch_size=5)"
    (project / 'classes.py').write_text(
        "model = dict(type='Classifier', module=dict(type='torch.nn.Linear', in_features=2,\n"
        '                                            out_features=3))\n'
        f'train_dataloader = {loader.format(numbers["train"])}\n'
        'train_cfg = dict(max_epochs=1)\n'
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))\n"
        f'val_dataloader = {loader.format(numbers["val"])}\n'
        'val_cfg = dict()\n'
        "val_evaluator = 'accuracy'\n"
    )
    message = message_of(capsys, 'train', 'classes.py')
    assert ('a target is from 0 to 2' if stage == 'train' else 'targets are from 0 to 4') in message
