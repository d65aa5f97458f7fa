"""fsspec's backend keeps the contract of the local one: on memory:// and on a real S3 server."""

import multiprocessing
import pickle
import shutil
import sys
import urllib.request
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mmengine import fileio
from mmengine.fileio import FileClient, FsspecBackend, LocalBackend, PetrelBackend, get_file_backend
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint, save_checkpoint


@pytest.fixture
def filled(root: str) -> str:
    for name in ('a.txt', 'b.py', '.hidden', 'sub/c.txt', 'sub/deep/d.txt'):
        fileio.put(name.encode(), f'{root}/{name}')
    return root


def names(*args: Any, **kwargs: Any) -> list[str]:
    return sorted(fileio.list_dir_or_file(*args, **kwargs))


def test_what_is_put_is_got(root: str) -> None:
    fileio.put(b'\x00\xff', f'{root}/new/folder/a.bin')
    fileio.put_text('zwölf', f'{root}/a.txt')
    assert fileio.get(f'{root}/new/folder/a.bin') == b'\x00\xff'
    assert fileio.get_text(f'{root}/a.txt') == 'zwölf'
    fileio.put(b'', f'{root}/a.txt')
    assert fileio.get(f'{root}/a.txt') == b''


def test_files_and_folders_are_told_apart(filled: str) -> None:
    answers = {
        name: (fileio.exists(path), fileio.isdir(path), fileio.isfile(path))
        for name in ('a.txt', 'sub', 'sub/deep', 'su', 'absent')
        for path in [fileio.join_path(filled, name)]
    }
    assert answers == {
        'a.txt': (True, False, True),
        'sub': (True, True, False),
        'sub/deep': (True, True, False),
        'su': (False, False, False),
        'absent': (False, False, False),
    }


def test_listing_a_folder(filled: str) -> None:
    assert names(filled) == ['a.txt', 'b.py', 'sub']
    assert names(filled, list_dir=False) == ['a.txt', 'b.py']
    assert names(filled, list_file=False, recursive=True) == ['sub', 'sub/deep']
    assert names(filled, recursive=True) == [
        'a.txt', 'b.py', 'sub', 'sub/c.txt', 'sub/deep', 'sub/deep/d.txt'
    ]  # fmt: skip
    assert names(filled, list_dir=False, suffix=('.py',)) == ['b.py']
    assert names(f'{filled}/sub/', list_dir=False, suffix='.txt', recursive=True) == [
        'c.txt', 'deep/d.txt'
    ]  # fmt: skip
    with pytest.raises(TypeError, match='list_dir must be False'):
        fileio.list_dir_or_file(filled, suffix='.txt')
    with pytest.raises(FileNotFoundError):
        names(f'{filled}/absent')


def test_missing_files_raise_what_local_ones_raise(filled: str) -> None:
    with pytest.raises(FileNotFoundError):
        fileio.get(f'{filled}/absent')
    with pytest.raises(FileNotFoundError):
        fileio.remove(f'{filled}/absent')
    with pytest.raises(IsADirectoryError):
        fileio.remove(f'{filled}/sub')
    with pytest.raises(FileNotFoundError):
        fileio.rmtree(f'{filled}/absent')
    with pytest.raises(NotADirectoryError):
        fileio.rmtree(f'{filled}/a.txt')


def test_files_and_folders_are_removed(filled: str) -> None:
    fileio.remove(f'{filled}/a.txt')
    assert names(filled) == ['b.py', 'sub']
    fileio.rmtree(f'{filled}/sub')
    assert names(filled) == ['b.py']
    assert not fileio.exists(f'{filled}/sub/deep/d.txt')


def test_copies_inside_a_place(filled: str) -> None:
    assert fileio.copyfile(f'{filled}/a.txt', f'{filled}/e.txt') == f'{filled}/e.txt'
    assert fileio.copyfile(f'{filled}/a.txt', f'{filled}/sub') == f'{filled}/sub/a.txt'
    assert fileio.get(f'{filled}/e.txt') == fileio.get(f'{filled}/sub/a.txt') == b'a.txt'
    with pytest.raises(shutil.SameFileError):
        fileio.copyfile(f'{filled}/a.txt', f'{filled}/a.txt')
    assert fileio.copytree(f'{filled}/sub', f'{filled}/twin') == f'{filled}/twin'
    assert names(f'{filled}/twin', list_dir=False, recursive=True) == [
        'a.txt', 'c.txt', 'deep/d.txt'
    ]  # fmt: skip
    with pytest.raises(FileExistsError):
        fileio.copytree(f'{filled}/sub', f'{filled}/twin')


def test_copies_to_and_from_the_local_disk(filled: str, tmp_path: Path) -> None:
    here = tmp_path / 'here'
    target = fileio.copytree_to_local(filled, str(here))
    assert target == str(here)
    copies = {p.relative_to(here).as_posix(): p.read_text() for p in here.rglob('*.*')}
    assert copies == {
        name: name for name in ('a.txt', 'b.py', '.hidden', 'sub/c.txt', 'sub/deep/d.txt')
    }
    (here / 'a.txt').write_bytes(b'changed')
    assert fileio.copyfile_from_local(here / 'a.txt', f'{filled}/sub') == f'{filled}/sub/a.txt'
    assert fileio.get(f'{filled}/sub/a.txt') == b'changed'
    assert fileio.copytree_from_local(here, f'{filled}/back') == f'{filled}/back'
    assert fileio.get(f'{filled}/back/sub/deep/d.txt') == b'sub/deep/d.txt'
    assert fileio.get(f'{filled}/back/.hidden') == b'.hidden'
    folder = tmp_path / 'folder'
    folder.mkdir()
    assert fileio.copyfile_to_local(f'{filled}/b.py', folder) == str(folder / 'b.py')
    assert (folder / 'b.py').read_bytes() == b'b.py'


def test_a_local_path_keeps_the_suffix_and_the_content(filled: str) -> None:
    with fileio.get_local_path(f'{filled}/sub/c.txt') as path:
        assert path.endswith('.txt')
        assert Path(path).read_bytes() == b'sub/c.txt'


def test_objects_and_tables_are_loaded_and_dumped(root: str) -> None:
    value = {'a': [1, 2.5], 'b': {'c': None}}
    for suffix in ('json', 'yaml', 'pkl'):
        fileio.dump(value, f'{root}/value.{suffix}')
        assert fileio.load(f'{root}/value.{suffix}') == value
    fileio.put_text('x 1\ny 2\n', f'{root}/table.txt')
    assert fileio.list_from_file(f'{root}/table.txt') == ['x 1', 'y 2']
    assert fileio.dict_from_file(f'{root}/table.txt') == {'x': '1', 'y': '2'}


def test_checkpoints_are_written_to_and_loaded_from_every_place(root: str) -> None:
    model = torch.nn.Linear(3, 2)
    save_checkpoint({'meta': {'epoch': 3}, 'state_dict': model.state_dict()}, f'{root}/epoch_3.pth')
    other = torch.nn.Linear(3, 2)
    checkpoint = load_checkpoint(other, f'{root}/epoch_3.pth', map_location='cpu')
    assert checkpoint['meta'] == {'epoch': 3}
    assert torch.equal(other.weight, model.weight)


def test_a_missing_checkpoint_is_a_missing_file(root: str) -> None:
    with pytest.raises(FileNotFoundError):
        CheckpointLoader.load_checkpoint(f'{root}/absent.pth')


def test_a_checkpoint_inside_an_archive_is_loaded(tmp_path: Path) -> None:
    import io
    import zipfile

    weights, archive = io.BytesIO(), io.BytesIO()
    torch.save({'state_dict': {'a': torch.arange(3)}}, weights)
    with zipfile.ZipFile(archive, 'w') as file:
        file.writestr('sub/epoch_1.pth', weights.getvalue())
    folder = f'memory://{uuid.uuid4().hex}'
    fileio.put(archive.getvalue(), f'{folder}/a.zip')
    loaded = CheckpointLoader.load_checkpoint(f'zip://sub/epoch_1.pth::{folder}/a.zip', 'cpu')
    assert loaded['state_dict']['a'].tolist() == [0, 1, 2]
    url = f'simplecache::{folder}/a.zip'
    assert fileio.get(url) == archive.getvalue()


# Which backend serves an address


@pytest.mark.parametrize('prefix', ['gs', 'hf', 'memory', 'ftp', 'sftp', 'simplecache'])
def test_every_address_of_fsspec_is_served(prefix: str) -> None:
    assert type(get_file_backend(f'{prefix}://a/b')) is FsspecBackend


def test_the_first_part_of_a_chain_decides() -> None:
    assert type(get_file_backend('simplecache::s3://a/b')) is FsspecBackend
    assert type(get_file_backend('filecache::https://a/b')) is FsspecBackend


def test_s3_is_fsspecs_where_there_is_no_petrel_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'petrel_client', None)
    assert type(get_file_backend('s3://bucket/a')) is FsspecBackend
    with pytest.warns(DeprecationWarning, match='FileClient'):
        assert type(FileClient(prefix='s3').client) is FsspecBackend
    with pytest.raises(ImportError, match='petrel_client'):
        get_file_backend('petrel://bucket/a')
    with pytest.raises(ImportError, match='petrel_client'):
        get_file_backend('s3://bucket/a', backend_args={'backend': 'petrel'})


def test_s3_is_petrels_where_its_client_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    petrel, client = ModuleType('petrel_client'), ModuleType('petrel_client.client')
    client.Client = lambda **kwargs: kwargs  # type: ignore[attr-defined]
    petrel.client = client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'petrel_client', petrel)
    monkeypatch.setitem(sys.modules, 'petrel_client.client', client)
    assert type(get_file_backend('s3://bucket/a')) is PetrelBackend
    assert type(get_file_backend('s3://a', backend_args={'backend': 'fsspec'})) is FsspecBackend


def test_local_files_are_left_to_the_local_backend(tmp_path: Path) -> None:
    assert type(get_file_backend(str(tmp_path))) is LocalBackend
    with pytest.raises(KeyError, match='drop file://'):
        get_file_backend(f'file://{tmp_path}')
    with pytest.raises(ValueError, match='drop file://'):
        FsspecBackend().get(f'file://{tmp_path}')
    with pytest.raises(ValueError, match='path_mapping'):
        FsspecBackend().get(str(tmp_path))


def test_a_cluster_name_is_petrels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'petrel_client', None)
    with pytest.raises(ValueError, match=r"'sh1984' .* is a cluster of the petrel client"):
        fileio.get('sh1984:s3://bucket/a')


def test_a_missing_package_is_named_with_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'gcsfs', None)
    with pytest.raises(ImportError, match=r'gs:// need another package.*pip install gcsfs'):
        fileio.get('gs://bucket/a')


# Arguments and state


def test_starts_of_paths_are_mapped() -> None:
    folder = f'memory://{uuid.uuid4().hex}/'
    backend = FsspecBackend(path_mapping={'data/': folder})
    backend.put(b'1', 'data/a')
    assert fileio.get(f'{folder}a') == b'1'
    args = {'backend': 'fsspec', 'path_mapping': {'data/': folder}}
    assert fileio.get('data/a', backend_args=args) == b'1'
    with pytest.raises(TypeError, match='path_mapping'):
        FsspecBackend(path_mapping=['data/'])  # type: ignore[arg-type]


def test_a_chain_reads_inside_an_archive(tmp_path: Path) -> None:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('sub/a.txt', 'inside')
    folder = f'memory://{uuid.uuid4().hex}'
    fileio.put(buffer.getvalue(), f'{folder}/a.zip')
    assert fileio.get(f'zip://sub/a.txt::{folder}/a.zip') == b'inside'


def test_one_file_system_serves_all_calls_with_the_same_arguments() -> None:
    backend = FsspecBackend()
    assert backend._open('memory://a')[0] is FsspecBackend()._open('memory://b')[0]


def test_a_backend_can_be_pickled() -> None:
    backend = pickle.loads(pickle.dumps(FsspecBackend(path_mapping={'a': 'memory://b'}, key='k')))
    assert (backend.path_mapping, backend.kwargs) == ({'a': 'memory://b'}, {'key': 'k'})


def test_arguments_reach_the_server(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('no_proxy', '*')
    args = {'key': 'k', 'secret': 's', 'endpoint_url': s3_server}
    path = f's3://bucket/{uuid.uuid4().hex}/weights.pth'
    fileio.put(b'1', path, backend_args=args)
    assert fileio.get(path, backend_args={'backend': 'fsspec', **args}) == b'1'
    save_checkpoint({'state_dict': {}}, path, backend_args=args)
    assert fileio.get(path, backend_args=args)[:2] == b'PK'


def test_a_missing_bucket_is_not_made(s3_environment: None) -> None:
    with pytest.raises(FileNotFoundError, match='bucket'):
        fileio.put(b'1', 's3://another-bucket/a')
    assert not fileio.exists('s3://another-bucket')


def test_what_others_write_is_seen_at_once(s3_server: str, s3_environment: None) -> None:
    folder = f's3://bucket/{uuid.uuid4().hex}'
    fileio.put(b'1', f'{folder}/a')
    assert names(folder) == ['a']
    # Another client of the same server, with caches of its own.
    fileio.put(b'1', f'{folder}/b', backend_args={'key': 'other', 'secret': 's'})
    assert names(folder) == ['a', 'b']
    assert fileio.isfile(f'{folder}/b')


def test_a_presigned_address_is_open_to_everybody(s3_environment: None) -> None:
    path = f's3://bucket/{uuid.uuid4().hex}.txt'
    fileio.put(b'open', path)
    with urllib.request.urlopen(fileio.generate_presigned_url(path, expires_in=60)) as response:
        assert response.read() == b'open'
    address = fileio.generate_presigned_url(path, client_method='put_object', expires_in=60)
    headers = {'Content-Type': 'application/octet-stream'}
    request = urllib.request.Request(address, data=b'changed', headers=headers, method='PUT')
    with urllib.request.urlopen(request) as response:
        assert response.status == 200
    assert fileio.get(path) == b'changed'
    with pytest.raises(NotImplementedError):
        fileio.generate_presigned_url('memory://a')


def _get_in_child(path: str, queue: Any) -> None:
    queue.put(fileio.get(path))


@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded:DeprecationWarning')
@pytest.mark.parametrize('method', ['fork', 'spawn'])  # a server would lack the environment
def test_worker_processes_read_from_the_server(s3_environment: None, method: str) -> None:
    path = f's3://bucket/{uuid.uuid4().hex}'
    fileio.put(b'for workers', path)
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    worker = context.Process(target=_get_in_child, args=(path, queue))
    worker.start()
    try:
        assert queue.get(timeout=300) == b'for workers'
    finally:
        worker.join(timeout=300)
    assert worker.exitcode == 0
