"""mmengine ckpt, as functions and on the command line: what is shown, written, refused."""

import hashlib
import json
import os
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from mmengine._checkpoint import tools
from mmengine._checkpoint._ledger import read_entries
from mmengine.cli.__main__ import main
from mmengine.runner import save_checkpoint
from mmengine.strategy.checkpoint_io import FileCheckpointIO
from mmengine.testing._internal.forked_python import run_python

ROOT = Path(__file__).parents[2]
CAPTURE = pytest.CaptureFixture[str]


class Evil:
    """Unpickling it runs code."""

    def __reduce__(self) -> Any:
        return os.system, ('touch executed',)


def _checkpoint(value: float, epoch: int = 1, **more: Any) -> dict[str, Any]:
    weights = OrderedDict(
        weight=torch.full((2, 3), value),
        half=torch.full((2,), value, dtype=torch.float16),
        count=torch.tensor(int(value)),
    )
    return {'meta': {'epoch': epoch, 'iter': epoch * 10}, 'state_dict': weights, **more}


@pytest.fixture
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three epochs and a best one, written by the engine; epoch 3 is the last."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'run'
    io = FileCheckpointIO()
    for epoch in (1, 2, 3):
        content = _checkpoint(float(epoch), epoch, optimizer={'state': torch.zeros(4)})
        io.write(content, str(folder / f'epoch_{epoch}.pth'))
    record = {'save_id': 'x', 'meta': {'metrics': {'acc': 0.5}}}
    io.write_record(record, str(folder / 'epoch_2.pth'))
    io.link(str(folder / 'epoch_2.pth'), str(folder / 'best_acc_epoch_2.pth'))
    io.mark_newest(str(folder), str(folder / 'epoch_3.pth'))
    return folder


def test_ls_lists_in_the_order_of_writing_with_marks(work_dir):
    torch.save({}, work_dir / 'other.pth')
    found = tools.ls(work_dir)
    assert [(Path(one['path']).name, one['epoch'], one['iter'], one['marks']) for one in found] == [
        ('other.pth', None, None, ['no line']),
        ('epoch_1.pth', 1, 10, []),
        ('epoch_2.pth', 2, 20, []),
        ('epoch_3.pth', 3, 30, ['last']),
        ('best_acc_epoch_2.pth', 2, 20, ['best']),
    ]
    assert found[2]['metrics'] == {'acc': 0.5}
    assert found[3]['bytes'] == (work_dir / 'epoch_3.pth').stat().st_size


def test_ls_marks_a_file_that_is_not_as_long_as_it_was_written(work_dir):
    (work_dir / 'epoch_1.pth').write_bytes(b'')
    marks = {Path(one['path']).name: one['marks'] for one in tools.ls(work_dir)}
    assert 'other size' in marks['epoch_1.pth']
    assert all('other size' not in marks[name] for name in marks if name != 'epoch_1.pth')


def test_ls_of_the_command_line(work_dir, capsys: CAPTURE):
    assert main(['ckpt', 'ls', 'run']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['file', 'epoch', 'iter', 'MB', 'written', 'metrics']
    assert lines[2].split()[:3] == ['run/epoch_2.pth', '2', '20']
    assert lines[2].endswith('acc=0.5')
    assert lines[3].endswith('last')
    assert main(['ckpt', 'ls', 'run', '--json']) == 0
    assert json.loads(capsys.readouterr().out) == tools.ls('run')
    assert main(['ckpt', 'ls', 'nowhere']) == 2
    assert 'nowhere' in capsys.readouterr().err


def test_verify_finds_the_damaged_file(work_dir, capsys: CAPTURE):
    assert [one['fault'] for one in tools.verify([work_dir])] == [None] * 4
    assert main(['ckpt', 'verify', 'run']) == 0
    content = bytearray((work_dir / 'epoch_1.pth').read_bytes())
    content[content.index(torch.ones(2, 3).numpy().tobytes()) + 3] ^= 1
    (work_dir / 'epoch_1.pth').write_bytes(content)
    save_checkpoint(_checkpoint(9.0), 'run/epoch_3.pth')  # somebody replaces a file
    (work_dir / 'text.pth').write_text('not a checkpoint')
    capsys.readouterr()
    assert main(['ckpt', 'verify', 'run']) == 1
    out = capsys.readouterr().out
    assert 'run/epoch_1.pth: the checksum of its part' in out
    assert 'run/epoch_2.pth: whole' in out
    assert 'run/epoch_3.pth: it is not the file that the run wrote' in out
    assert 'run/text.pth: ' in out
    assert 'run/text.pth: whole' not in out
    assert main(['ckpt', 'verify', 'run/gone.pth']) == 2


def test_inspect_counts_without_reading_tensors(work_dir, capsys: CAPTURE):
    facts = tools.inspect(work_dir / 'epoch_2.pth', weights=True)
    assert (facts['epoch'], facts['iter']) == (2, 20)
    assert (facts['weights'], facts['values']) == (3, 2 * 3 + 2 + 1)
    assert facts['values_by_dtype'] == {'float32': 6, 'float16': 2, 'int64': 1}
    assert facts['parts'] == {'meta': 0, 'state_dict': 24 + 4 + 8, 'optimizer': 16}
    assert facts['shapes']['weight'] == {'shape': [2, 3], 'dtype': 'float32'}
    assert main(['ckpt', 'inspect', 'run/epoch_2.pth', '--weights']) == 0
    out = capsys.readouterr().out
    assert 'part optimizer   16 bytes of tensors' in out
    assert 'float32 2 x 3' in out
    assert main(['ckpt', 'inspect', 'run/epoch_2.pth', '--json']) == 0
    assert json.loads(capsys.readouterr().out)['values'] == 9


def test_diff_counts_differences(work_dir, capsys: CAPTURE):
    other = _checkpoint(1.0, epoch=7)
    other['state_dict']['weight'][0, 0] = 1.25
    other['state_dict']['half'] = torch.ones(3).half()
    other['state_dict']['new'] = other['state_dict'].pop('count')
    save_checkpoint(other, 'other.pth')
    found = tools.diff('run/epoch_1.pth', 'other.pth')
    assert found['values'] == {'weight': {'different': 1, 'of': 6, 'largest': 0.25}}
    assert found['shapes'] == {'half': [[2], [3]]}
    assert (found['only_in_one'], found['only_in_other']) == (['count'], ['new'])
    assert found['meta'] == {'epoch': [1, 7], 'iter': [10, 70]}
    assert (found['equal'], found['same']) == (0, False)
    assert main(['ckpt', 'diff', 'run/epoch_1.pth', 'other.pth']) == 1
    assert 'weight: 1 values differ, by at most 0.25' in capsys.readouterr().out
    assert main(['ckpt', 'diff', 'run/epoch_2.pth', 'run/best_acc_epoch_2.pth']) == 0
    assert '3 weights are equal.' in capsys.readouterr().out


def test_equal_nan_is_equal(work_dir):
    content = _checkpoint(1.0)
    content['state_dict']['weight'][0, 0] = float('nan')
    save_checkpoint(content, 'a.pth')
    save_checkpoint(content, 'b.pth')
    assert tools.diff('a.pth', 'b.pth')['same']


def test_average_is_the_mean_in_double_precision(work_dir, capsys: CAPTURE):
    paths = [f'run/epoch_{epoch}.pth' for epoch in (1, 2, 3)]
    assert main(['ckpt', 'average', *paths, '--out', 'mean.pth']) == 0
    mean = torch.load('mean.pth', weights_only=True)
    assert mean['state_dict']['weight'].tolist() == [[2.0] * 3] * 2
    assert mean['state_dict']['half'].dtype == torch.float16
    assert mean['state_dict']['count'] == 3  # of the last one
    assert mean['meta']['averaged_from'] == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    assert 'optimizer' not in mean
    # 1 and 3 with weights 1 and 3: (1 * 1 + 3 * 3) / 4.
    tools.average([paths[0], paths[2]], 'weighed.pth', weights=[1, 3])
    assert torch.load('weighed.pth')['state_dict']['weight'][0, 0] == 2.5
    # Ten times 0.1 would not be 0.1 if they were added in float32.
    save_checkpoint(_checkpoint(0.1), 'a.pth')
    tools.average(['a.pth'] * 10, 'tenth.pth')
    assert torch.equal(
        torch.load('tenth.pth')['state_dict']['weight'], torch.full((2, 3), 0.1)
    )  # fmt: skip


def test_average_refuses_what_does_not_fit(work_dir, capsys: CAPTURE):
    wrong = _checkpoint(1.0)
    wrong['state_dict']['weight'] = torch.zeros(3, 3)
    save_checkpoint(wrong, 'shape.pth')
    wrong['state_dict'].pop('weight')
    save_checkpoint(wrong, 'names.pth')
    for words, message in {
        ('run/epoch_1.pth', 'shape.pth'): r'weight has shape [3, 3] in shape.pth and [2, 3]',
        ('run/epoch_1.pth', 'names.pth'): 'do not have the same weights: weight.',
        ('run/epoch_1.pth',): 'needs two checkpoints or more',
    }.items():
        assert main(['ckpt', 'average', *words, '--out', 'out.pth']) == 2
        assert message in capsys.readouterr().err
    assert not Path('out.pth').exists()
    assert main(['ckpt', 'average', 'run/epoch_1.pth', 'run/epoch_2.pth', '--out',
                 'run/epoch_3.pth']) == 2  # fmt: skip
    assert 'exists' in capsys.readouterr().err
    with pytest.raises(ValueError, match='2 positive weights'):
        tools.average(['run/epoch_1.pth', 'run/epoch_2.pth'], 'out.pth', weights=[1, -1])


def test_publish_keeps_weights_and_has_the_hash_in_its_name(work_dir, capsys: CAPTURE):
    assert main(['ckpt', 'publish', 'run/epoch_2.pth', '--out-dir', 'out']) == 0
    path = Path(capsys.readouterr().out.strip())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert path == Path('out', f'epoch_2-{digest}.pth')
    assert set(torch.load(path, weights_only=True)) == {'meta', 'state_dict'}
    only = tools.publish('run/epoch_2.pth', keys=['state_dict'])
    assert only.parent == Path('run')
    assert set(torch.load(only, weights_only=True)) == {'state_dict'}
    assert main(['ckpt', 'publish', 'run/epoch_2.pth', '--keys', 'nothing']) == 2
    assert 'does not have nothing; it has meta' in capsys.readouterr().err


def test_convert_to_safetensors_and_back(work_dir, capsys: CAPTURE):
    pytest.importorskip('safetensors')
    content = _checkpoint(2.0, epoch=4, optimizer={})
    content['state_dict']['tied'] = content['state_dict']['weight']
    content['state_dict']['turned'] = content['state_dict']['weight'].t()
    save_checkpoint(content, 'a.pth')
    assert main(['ckpt', 'convert', 'a.pth', 'a.safetensors']) == 0
    assert capsys.readouterr().out == 'a.safetensors\nNot in it: optimizer.\n'
    assert main(['ckpt', 'convert', 'a.safetensors', 'back.pth']) == 0
    back = torch.load('back.pth', weights_only=True)
    assert back['meta']['epoch'] == 4
    assert tools.diff('a.pth', 'back.pth')['same']
    assert tools.diff('a.pth', 'a.safetensors')['same']
    assert tools.inspect('a.safetensors')['weights'] == 5
    assert [one['fault'] for one in tools.verify(['a.safetensors'])] == [None]
    Path('a.safetensors').write_bytes(Path('a.safetensors').read_bytes()[:-9])
    assert main(['ckpt', 'verify', 'a.safetensors']) == 1
    assert main(['ckpt', 'convert', 'a.safetensors', 'b.pth']) == 2
    assert main(['ckpt', 'convert', 'a.pth', 'a.txt']) == 2


def test_without_safetensors_the_package_is_named(work_dir, monkeypatch, capsys: CAPTURE):
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    assert main(['ckpt', 'convert', 'run/epoch_1.pth', 'a.safetensors']) == 2
    assert 'pip install "mmengine[safetensors]"' in capsys.readouterr().err


def test_rm_refuses_the_last_and_the_best(work_dir, capsys: CAPTURE):
    for name in ('epoch_3.pth', 'best_acc_epoch_2.pth'):
        assert main(['ckpt', 'rm', 'run/epoch_1.pth', f'run/{name}']) == 2
        assert f'{name} is ' in capsys.readouterr().err
        assert (work_dir / 'epoch_1.pth').exists(), 'all paths are checked first'
    assert main(['ckpt', 'rm', 'run/epoch_1.pth', 'run/epoch_2.pth']) == 0
    assert list(read_entries(work_dir)) == ['epoch_3.pth', 'best_acc_epoch_2.pth']
    assert not (work_dir / 'epoch_2.pth.after_val').exists()
    assert main(['ckpt', 'rm', 'run/epoch_3.pth', '--force']) == 0
    assert [path.name for path in work_dir.glob('*.pth')] == ['best_acc_epoch_2.pth']
    for wrong in ('run/gone.pth', 'run', 'run/checkpoints.jsonl'):
        assert main(['ckpt', 'rm', wrong, '--force']) == 2
    assert (work_dir / 'checkpoints.jsonl').exists()


@pytest.mark.parametrize('action', ['inspect', 'verify', 'diff', 'average', 'publish', 'convert'])
def test_nothing_in_a_file_is_executed(work_dir, action):
    torch.save({**_checkpoint(1.0), 'evil': Evil()}, 'evil.pth')
    words = {
        'diff': ['evil.pth', 'evil.pth'],
        'average': ['evil.pth', 'evil.pth', '--out', 'mean.pth'],
        'convert': ['evil.pth', 'other.pth'],
    }.get(action, ['evil.pth'])
    main(['ckpt', action, *words])
    assert not Path('executed').exists()


def test_as_a_process(work_dir):
    words = ['-m', 'mmengine', 'ckpt', 'verify', 'run', '--json']
    done = run_python(words, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert [one['fault'] for one in json.loads(done.stdout)] == [None] * 4
