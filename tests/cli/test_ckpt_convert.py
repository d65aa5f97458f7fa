"""mmengine ckpt convert: between files, sharded folders and safetensors, tensor by tensor."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from mmengine._checkpoint import tools
from mmengine._checkpoint._safetensors import parse_bytes
from mmengine._checkpoint._stored_tensor import StoredTensor
from mmengine._checkpoint._torch_file import mapped_reads
from mmengine._checkpoint.files import CheckpointReadError, read_checkpoint
from mmengine.cli.__main__ import main
from mmengine.utils.errors import ArgumentError

safetensors_torch = pytest.importorskip('safetensors.torch')

FORMS = ['file.pth', 'folder', 'one.safetensors', 'several/model.safetensors.index.json']


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    weights = OrderedDict((f'layers.{at}.weight', torch.randn(64, 32)) for at in range(5))
    weights |= {
        'half': torch.arange(6).bfloat16().view(2, 3),
        'turned': torch.randn(8, 5).t(),
        'flags': torch.tensor([True, False]),
        'count': torch.tensor(7),
        'none': torch.zeros(0, 3),
    }
    moment = {'exp_avg': torch.randn(64, 64), 'step': torch.tensor(3.0)}
    made = {
        'meta': {'epoch': 3, 'iter': 9},
        'state_dict': weights,
        'optimizer': {'state': {0: moment}, 'param_groups': [{'lr': 0.1, 'params': [0]}]},
    }
    torch.save(made, 'source.pth')
    return made


def _check(found: Any, content: dict[str, Any], has_all: bool) -> None:
    expected = content if has_all else {'meta': content['meta']}
    expected = {**expected, 'state_dict': content['state_dict']}
    torch.testing.assert_close(dict(found), expected, rtol=0, atol=0)


@pytest.mark.parametrize('last', FORMS)
@pytest.mark.parametrize('first', FORMS)
def test_any_form_to_any_form(first: str, last: str, content: dict[str, Any]) -> None:
    options = {'shard_size': 20_000} if 'index' in first else {}
    left_out = tools.convert('source.pth', first, **options)
    assert left_out == (['optimizer'] if 'safetensors' in first else [])
    tools.convert(first, f'new/{last}')
    has_all = 'safetensors' not in first + last
    _check(read_checkpoint(f'new/{last}'), content, has_all)
    if last == 'file.pth':
        for options in ({}, {'mmap': True}):
            _check(torch.load(f'new/{last}', weights_only=True, **options), content, has_all)
    if last == 'one.safetensors':
        _check(
            {'meta': content['meta'], 'state_dict': safetensors_torch.load_file(f'new/{last}')},
            content, has_all,
        )  # fmt: skip
    assert [one['fault'] for one in tools.verify([f'new/{last}'])] == [None]


def test_several_files_are_no_larger_than_asked(
    content: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ['ckpt', 'convert', 'source.pth', 'hf/model.safetensors', '--shard-size', '20KB']
    assert main(command) == 0
    index = json.loads(Path('hf/model.safetensors.index.json').read_text())
    assert index['weight_map'].keys() == content['state_dict'].keys()
    bytes_of = {name: value.nbytes for name, value in content['state_dict'].items()}
    assert index['metadata']['total_size'] == sum(bytes_of.values())
    files = sorted(set(index['weight_map'].values()))
    # Two of five weights of 8,192 bytes in a file, then the rest.
    assert files == [f'model-0000{at}-of-00003.safetensors' for at in (1, 2, 3)]
    for file in files:
        loaded = safetensors_torch.load_file(f'hf/{file}')
        assert loaded.keys() == {key for key, name in index['weight_map'].items() if name == file}
        assert sum(value.nbytes for value in loaded.values()) <= 20_000
        for name, value in loaded.items():
            assert torch.equal(value, content['state_dict'][name])
        with safetensors_torch.safe_open(f'hf/{file}', 'pt') as opened:
            assert opened.metadata()['format'] == 'pt'  # transformers looks for it
    assert main(['ckpt', 'diff', 'hf', 'source.pth']) == 0
    assert 'Not in it: optimizer.' in capsys.readouterr().out


def test_a_slice_of_a_file_is_read(content: dict[str, Any]) -> None:
    tools.convert('source.pth', 'one.safetensors')
    with mapped_reads():
        weight = read_checkpoint('one.safetensors', 'cpu')['state_dict']['layers.1.weight']
    assert isinstance(weight, StoredTensor)
    part = weight.part((10, 0), (5, 32))
    assert torch.equal(part, content['state_dict']['layers.1.weight'][10:15])
    assert part.untyped_storage().nbytes() == 5 * 32 * 4
    assert weight.part((64, 0), (0, 32)).shape == (0, 32)


def test_what_is_wrong_is_refused(content: dict[str, Any]) -> None:
    for out, options in (
        ('new.txt', {}), ('new.pth', {'shard_size': '1GB'}), ('source.pth', {}),
        ('new.safetensors', {'shard_size': 'big'}),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            tools.convert('source.pth', out, **options)  # type: ignore[arg-type]  # of several types
    assert sorted(os.listdir()) == ['source.pth']
    tools.convert('source.pth', 'hf/model.safetensors', shard_size=20_000)
    index = Path('hf/model.safetensors.index.json')
    text = index.read_text()
    index.write_text(text.replace('model-00002', '../model-00002'))
    with pytest.raises(CheckpointReadError, match='not a file beside it'):
        read_checkpoint(index)
    index.write_text(text)
    Path('hf/model-00002-of-00003.safetensors').unlink()
    with pytest.raises(CheckpointReadError, match='its file model-00002'):
        read_checkpoint(index)


@pytest.mark.parametrize(
    ('text', 'size'),
    [('5GB', 5 * 10**9), ('1.5 MiB', 3 * 2**19), ('700', 700), (12, 12), ('2k', 2000)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size
