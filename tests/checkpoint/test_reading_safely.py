"""Reading a checkpoint runs nothing that the file says, whatever the file is."""

import io
import os
import pickle
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmengine._checkpoint.files import CheckpointReadError, read_checkpoint
from mmengine._checkpoint.legacy import Opaque
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Call:
    """Pickles as a call, which an ordinary unpickler makes."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class Unknown:
    """A class of a project that is not installed where the file is read."""

    def __init__(self):
        self.value = 1


class UnknownDict(dict):
    pass


class UnknownList(list):
    pass


def _legacy_file(path: Path, content: bytes) -> Path:
    """A file in torch's format before 1.6 around a pickle written by hand."""
    with path.open('wb') as file:
        for part in (MAGIC, PROTOCOL, {'little_endian': sys.byteorder == 'little'}):
            pickle.dump(part, file, protocol=2)
        file.write(content)
        pickle.dump([], file, protocol=2)
    return path


@pytest.fixture(autouse=True)
def _quiet(capsys):
    yield
    capsys.readouterr()


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('name', ['open', 'system', 'eval', 'nested'])
def test_a_call_in_the_file_is_not_made(tmp_path, name, zipped):
    target = tmp_path / 'made'
    nested = pickle.dumps(Call(os.mkdir, str(target)))
    call = {
        'open': Call(open, str(target), 'w'),
        'system': Call(os.system, f'touch {target}'),
        'eval': Call(eval, f'open({str(target)!r}, "w")'),
        'nested': Call(pickle.loads, nested),
    }[name]
    path = tmp_path / 'evil.pth'
    torch.save(
        {'state_dict': {'w': torch.ones(2)}, 'meta': {'x': call}},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    assert not target.exists()
    checkpoint = read_checkpoint(path)
    assert not target.exists()
    assert torch.equal(checkpoint['state_dict']['w'], torch.ones(2))
    assert isinstance(checkpoint['meta']['x'], Opaque)


@pytest.mark.parametrize(
    ('module', 'name'),
    [
        ('mmengine.logging.history_buffer', 'HistoryBuffer'),
        ('mmengine.config.config', 'ConfigDict'),
        ('some.project', 'Model'),
    ],
)
def test_a_file_cannot_change_a_class(tmp_path, module, name):
    # GLOBAL class, (None, {'mean': 1}), BUILD: pickle's way to set attributes of slots.
    setting = b'(N}(U\x04meanK\x01utb.'
    path = _legacy_file(
        tmp_path / 'evil.pth', b'\x80\x02c' + f'{module}\n{name}\n'.encode() + setting
    )
    before = HistoryBuffer.mean
    with pytest.raises(CheckpointReadError):
        read_checkpoint(path)
    assert HistoryBuffer.mean is before
    assert not hasattr(ConfigDict, 'mean')


@pytest.mark.parametrize(
    ('name', 'parts', 'text'),
    [
        ('pathlib.PosixPath', ('/', 'a', 'b.pth'), '/a/b.pth'),
        ('pathlib._local.PosixPath', ('/', 'a', 'b.pth'), '/a/b.pth'),
        ('pathlib._local.PurePosixPath', ('a', 'b'), 'a/b'),
        ('pathlib._local.WindowsPath', ('c:\\\\', 'a', 'b'), 'c:\\a\\b'),
    ],
)
def test_a_path_of_any_python_is_read_as_text(tmp_path, name, parts, text):
    module, _, kind = name.rpartition('.')
    written = ''.join(f"S'{part}'\n" for part in parts)
    content = f"(S'meta'\n(S'file'\nc{module}\n{kind}\n({written}tRdd.".encode()
    checkpoint = read_checkpoint(_legacy_file(tmp_path / 'paths.pth', content))
    assert checkpoint == {'meta': {'file': text}}


def test_a_file_cannot_change_a_function_of_torch(tmp_path):
    setting = b'}U\x0c__defaults__NsU\x04evilK\x01sb.'
    path = _legacy_file(
        tmp_path / 'evil.pth', b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n' + setting
    )
    with pytest.raises(CheckpointReadError):
        read_checkpoint(path)
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'evil')


class _Pointers:
    """An object array whose pointers are bytes of the file."""

    def __reduce__(self):
        array = np.zeros(1)
        function, args, _ = array.__reduce__()
        return function, args, (1, (1,), np.dtype('O'), False, b'\x08' * 8)


class _PointersByBuffer:
    def __reduce__(self):
        return np.ndarray, ((1,), np.dtype('O'), b'\x08' * 8)


def test_pointers_are_not_read_from_a_file(tmp_path):
    path = tmp_path / 'evil.pth'
    torch.save({'x': _Pointers()}, path)
    with pytest.raises(CheckpointReadError, match='data of an array'):
        read_checkpoint(path)


def test_an_array_is_not_built_over_bytes_of_the_file(tmp_path):
    path = tmp_path / 'evil.pth'
    torch.save({'x': _PointersByBuffer()}, path)
    assert isinstance(read_checkpoint(path)['x'], Opaque)


def test_an_array_of_the_wrong_size_is_refused(tmp_path):
    function, args, _ = np.zeros(1).__reduce__()

    class Short:
        def __reduce__(self):
            return function, args, (1, (1000,), np.dtype('f8'), False, b'\x00' * 8)

    path = tmp_path / 'evil.pth'
    torch.save({'x': Short()}, path)
    with pytest.raises(CheckpointReadError, match='data of an array'):
        read_checkpoint(path)


@pytest.mark.parametrize(
    'array',
    [
        np.arange(6, dtype='>i4').reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([[True, False]]),
        np.array(['a', 'bcd']),
        np.array([1, None, 'x'], dtype=object),
        np.zeros((0, 3), dtype=np.float16),
        np.array(2.5),
        np.array([1 + 2j], dtype=np.complex64),
    ],
    ids=lambda array: f'{array.dtype}{array.shape}',
)
def test_arrays_come_back_as_they_were(tmp_path, array):
    path = tmp_path / 'arrays.pth'
    torch.save({'array': array}, path)
    read = read_checkpoint(path)['array']
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    if array.size:
        read[...] = array.flat[0]  # it is no view of the file


@pytest.mark.parametrize(
    'scalar', [np.float64(1.5), np.int32(-4), np.bool_(True), np.float16(0.25)], ids=repr
)
def test_numpy_scalars_come_back_as_they_were(tmp_path, scalar):
    path = tmp_path / 'scalars.pth'
    torch.save({scalar: scalar}, path)
    ((key, value),) = read_checkpoint(path).items()
    assert (type(key), key) == (type(scalar), scalar)
    assert value == scalar


def test_containers_of_unknown_kinds_give_what_they_hold(tmp_path, capsys):
    path = tmp_path / 'kinds.pth'
    torch.save({'d': UnknownDict(a=np.float64(1)), 'l': UnknownList([1, 2]), 'o': Unknown()}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint['d'] == {'a': 1.0}
    assert checkpoint['l'] == [1, 2]
    assert checkpoint['o'].state == {'value': 1}
    assert (
        f'not rebuilt, because reading a checkpoint runs no code from it: {__name__}.Unknown'
        in (capsys.readouterr().out)
    )


def test_configs_come_back_as_configs(tmp_path):
    path = tmp_path / 'config.pth'
    cfg = ConfigDict(model=dict(type='A', layers=[dict(depth=np.int64(2))]))
    torch.save({'cfg': cfg}, path)
    read = read_checkpoint(path)['cfg']
    assert isinstance(read, ConfigDict)
    assert read.model.layers[0].depth == 2


def test_paths_come_back_as_text(tmp_path):
    path = tmp_path / 'path.pth'
    torch.save({'path': Path('/a/b.pth')}, path)
    assert read_checkpoint(path)['path'] == '/a/b.pth'


def test_something_that_holds_itself_comes_back(tmp_path):
    loop: dict = {'unknown': Unknown()}
    loop['self'] = loop
    path = tmp_path / 'loop.pth'
    torch.save(loop, path)
    read = read_checkpoint(path)
    assert read['self'] is read


def test_tensors_beside_unknown_objects_keep_sharing_and_kind(tmp_path):
    weight = nn.Parameter(torch.arange(4.0))
    path = tmp_path / 'tied.pth'
    sparse = torch.eye(2).to_sparse()
    torch.save(
        {'a': weight, 'b': weight, 'view': weight.data[2:], 's': sparse, 'o': Unknown()}, path
    )
    read = read_checkpoint(path)
    assert isinstance(read['a'], nn.Parameter)
    read['view'][0] = 9.0
    assert read['a'].data_ptr() == read['b'].data_ptr()
    assert read['a'][2] == 9.0
    assert torch.equal(read['s'].to_dense(), torch.eye(2))


def test_map_location_holds_for_files_with_unknown_objects(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'w': torch.ones(1), 'o': Unknown()}, path)
    assert read_checkpoint(path, map_location='meta')['w'].device.type == 'meta'


def test_a_missing_file_is_named_with_its_neighbours(tmp_path):
    (tmp_path / 'epoch_1.pth').touch()
    with pytest.raises(FileNotFoundError, match=r'epoch_2\.pth.*The folder has epoch_1\.pth'):
        read_checkpoint(tmp_path / 'epoch_2.pth')


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='Its folder does not exist either'):
        read_checkpoint(tmp_path / 'no' / 'epoch_2.pth')


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('kept', [0, 1, 10, 300, -20, -1])
def test_a_truncated_file_is_said_to_be_cut_short(tmp_path, kept, zipped):
    path = tmp_path / 'cut.pth'
    content = {'state_dict': {'w': torch.ones(200)}, 'o': Unknown()}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    with pytest.raises(CheckpointReadError, match=r'cut\.pth \([\d,]+ bytes\).*truncated'):
        read_checkpoint(path)


@pytest.mark.parametrize(
    'content',
    [b'hello', b'{"a": 1}', b'\x89PNG\r\n', b'\x80\x04.', b'version https://git-lfs', b'<html>'],
)
def test_another_kind_of_file_is_said_to_be_one(tmp_path, content):
    path = tmp_path / 'other.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointReadError, match='not a readable checkpoint'):
        read_checkpoint(path)


def test_a_torchscript_program_is_not_loaded(tmp_path):
    path = tmp_path / 'script.pth'
    with pytest.warns(DeprecationWarning, match='torch.jit'):
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), path)
    with pytest.raises(CheckpointReadError, match='TorchScript program'):
        read_checkpoint(path)


def test_a_tar_archive_is_not_unpacked(tmp_path):
    path = tmp_path / 'old.tar'
    with tarfile.open(path, 'w') as tar:
        tar.addfile(tarfile.TarInfo('storages'), io.BytesIO())
    with pytest.raises(CheckpointReadError, match=r'\.tar format'):
        read_checkpoint(path)


def _zipped(pickled: bytes, entries: Sequence[tuple[str, bytes]] = ()) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in [('a/data.pkl', pickled), ('a/version', b'3\n'), *entries]:
            archive.writestr(name, data)
    return content


def _old_form(pickled: bytes) -> io.BytesIO:
    sizes = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {}}
    heads = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, sizes)]
    return io.BytesIO(b''.join([*heads, pickled]))


@pytest.mark.parametrize('form', [_zipped, _old_form])
def test_a_small_checkpoint_gets_no_large_memory(form: Any) -> None:
    greedy = b'\x80\x02cbuiltins\nbytearray\nJ\x00\x94\x35\x77\x85R.'  # bytearray(2_000_000_000)
    content = form(greedy)
    content.seek(0)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointReadError, match='Bytes made from a length'):
            read_checkpoint(content)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_a_zip_that_unpacks_to_many_times_its_size_is_refused(tmp_path: Path) -> None:
    zeros = bytes(2**20 * 300)
    content = _zipped(pickle.dumps({'a': 1}, 2), [('a/data/0', zeros)])
    (tmp_path / 'bomb.pth').write_bytes(content.getvalue())
    assert len(content.getvalue()) < 2**20
    with pytest.raises(CheckpointReadError, match=r'bomb.pth .* would unpack to 314,572'):
        read_checkpoint(tmp_path / 'bomb.pth')


def test_a_checkpoint_that_somebody_compressed_is_read(tmp_path: Path) -> None:
    torch.save({'w': torch.arange(6.0), 'text': bytearray(b'ab')}, tmp_path / 'plain.pth')
    with zipfile.ZipFile(tmp_path / 'plain.pth') as plain:
        with zipfile.ZipFile(tmp_path / 'small.pth', 'w', zipfile.ZIP_DEFLATED) as small:
            for name in plain.namelist():
                small.writestr(name, plain.read(name))
    found = read_checkpoint(tmp_path / 'small.pth')
    assert found['text'] == b'ab'
    assert torch.equal(found['w'], torch.arange(6.0))
