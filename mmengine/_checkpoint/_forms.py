"""What a checkpoint is at a local path: a file or a folder, and what can be done with it.

Nothing else asks which of them it is. A folder has the name that a file would have, such as
``epoch_1.pth``: pointers, lists of kept checkpoints and commands stay the same when a run changes
the form of its checkpoints.
"""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmengine._checkpoint import _safetensors
from mmengine._checkpoint._digest import hash_of_file
from mmengine._checkpoint._stored_tensor import StoredTensor
from mmengine._checkpoint._torch_file import maps_files, read_torch_file
from mmengine._checkpoint.folder._manifest import MANIFEST, digest_of, fault_in, size_of_parts
from mmengine._checkpoint.folder._metadata import METADATA
from mmengine._checkpoint.folder._read import read_folder
from mmengine._checkpoint.folder._tree import STATE, replace_tensors
from mmengine.fileio._atomic import (
    remove_path,
    replaced_beside,
    set_aside,
    sync_folder,
    temporary_beside,
)

# NotImplementedError, of a kind of compression that is not there, is a RuntimeError.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError)


class Form(ABC):
    """A form in which a checkpoint is stored. Paths exist, and have this form.

    Attributes:
        is_checkpoint: Whether what has this form can be read as a checkpoint here.
        strategy: The strategy that reads it instead; None if it is unknown.
    """

    is_checkpoint = True
    strategy: str | None = None

    @abstractmethod
    def holds(self, path: Path) -> bool:
        """Whether what is at ``path`` has this form."""

    @abstractmethod
    def size(self, path: Path) -> int:
        """Its bytes on the disk."""

    @abstractmethod
    def digest(self, path: Path) -> str:
        """A hash of all its bytes, as in the ledger."""

    @abstractmethod
    def fault(self, path: Path) -> str | None:
        """What the checksums in it say against it; None if nothing, or if it has none."""

    @abstractmethod
    def read(self, path: Path, map_location: Any) -> Any:
        """Its content; a tensor may be a ``StoredTensor``. Nothing in it is executed."""

    def signature(self, path: Path) -> tuple[Any, ...]:
        """What differs once somebody has changed it, without reading it."""
        return _signature(path)

    @abstractmethod
    def link(self, source: Path, draft: Path) -> None:
        """Make ``draft`` a second name of it, or a copy where there are no links."""


class TorchFile(Form):
    """A file of ``torch.save``."""

    def holds(self, path: Path) -> bool:
        return path.is_file()

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def digest(self, path: Path) -> str:
        return hash_of_file(path)

    def fault(self, path: Path) -> str | None:
        """What the checksums in a zip file say; old files in other forms have none."""
        if not path.stat().st_size:
            return 'it is empty, truncated while it was written'
        with path.open('rb') as file:
            if file.read(2) != b'PK':
                return None
            try:
                with zipfile.ZipFile(file) as archive:
                    damaged = archive.testzip()
            except _UNREADABLE as error:
                return f'it was truncated or changed ({error})'
        return None if damaged is None else f'the checksum of its part {damaged} is wrong'

    def read(self, path: Path, map_location: Any) -> Any:
        with path.open('rb') as opened:
            return read_torch_file(opened, map_location, name=str(path))

    def link(self, source: Path, draft: Path) -> None:
        _link_file(source, draft)


class SafetensorsFile(TorchFile):
    """Weights in the format safetensors, in one file."""

    def holds(self, path: Path) -> bool:
        return path.suffix == _safetensors.SAFETENSORS and path.is_file()

    def fault(self, path: Path) -> str | None:
        return None  # the format has no checksums

    def read(self, path: Path, map_location: Any) -> Any:
        return _safetensors.read_weights(path, map_location)


class SafetensorsIndex(SafetensorsFile):
    """Weights in several files of that format, named by their index."""

    def holds(self, path: Path) -> bool:
        return path.name.endswith(_safetensors.INDEX) and path.is_file()


class Folder(Form):
    """A folder of ``torch.distributed.checkpoint``; see :mod:`mmengine._checkpoint.folder`."""

    def holds(self, path: Path) -> bool:
        return any((path / name).is_file() for name in (MANIFEST, METADATA, STATE))

    def size(self, path: Path) -> int:
        return size_of_parts(path)

    def digest(self, path: Path) -> str:
        return digest_of(path)

    def fault(self, path: Path) -> str | None:
        if (path / MANIFEST).is_file():
            return fault_in(path)
        if not (path / METADATA).is_file():
            return f'it has no {METADATA}, so it was not finished'
        return None if not (path / STATE).is_file() else f'it has no {MANIFEST}'

    def read(self, path: Path, map_location: Any) -> Any:
        return read_folder(path, map_location)

    def signature(self, path: Path) -> tuple[Any, ...]:
        return tuple(map(_signature, sorted(path.iterdir())))

    def link(self, source: Path, draft: Path) -> None:
        draft.mkdir()
        for file in source.iterdir():
            _link_file(file, draft / file.name)
        sync_folder(draft)


class FolderOfWeights(SafetensorsFile):
    """A folder with files in the format safetensors, as Hugging Face has it."""

    def holds(self, path: Path) -> bool:
        return path.is_dir() and _safetensors.index_in(path) is not None

    def size(self, path: Path) -> int:
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())

    def digest(self, path: Path) -> str:
        return ''

    def read(self, path: Path, map_location: Any) -> Any:
        index = _safetensors.index_in(path)
        assert index is not None
        return _safetensors.read_weights(index, map_location)

    def link(self, source: Path, draft: Path) -> None:
        shutil.copytree(source, draft)


class OtherFolder(FolderOfWeights):
    """A folder that another ``CheckpointIO`` has written, which reads it."""

    is_checkpoint = False

    def holds(self, path: Path) -> bool:
        return path.is_dir()

    def fault(self, path: Path) -> str | None:
        return None if any(path.iterdir()) else 'it is an empty folder'

    def read(self, path: Path, map_location: Any) -> Any:
        raise IsADirectoryError(21, 'This folder is not a checkpoint', str(path))


class DeepSpeedFolder(OtherFolder):
    """A folder of the engine of DeepSpeed, and what is of the run in a file beside."""

    strategy = 'DeepSpeedStrategy'
    RUN_FILE = 'run.pth'

    def holds(self, path: Path) -> bool:
        return (path / self.RUN_FILE).is_file()


# A strategy whose engine has another form adds it before the last one.
FORMS: list[Form] = [
    SafetensorsIndex(), SafetensorsFile(), TorchFile(), Folder(), FolderOfWeights(),
    DeepSpeedFolder(), OtherFolder(),
]  # fmt: skip


def find(path: str | Path) -> tuple[Path, Form] | None:
    """Where a checkpoint is now, and its form; None if there is none.

    While a folder takes the place of another one, that one has another name.
    """
    for place in (Path(path), Path(replaced_beside(path))):
        for form in FORMS:
            if form.holds(place):
                return place, form
    return None


def is_stored(path: str | Path) -> bool:
    """Whether there is a checkpoint at a local path that can be read."""
    found = find(path)
    return found is not None and found[1].is_checkpoint


def read_stored(path: Path, form: Form, map_location: Any) -> Any:
    """The content of a checkpoint, with its tensors in memory.

    In the context of ``mapped_reads`` they are read from the disk when they are used.

    Args:
        path: Its path.
        form: Its form.
        map_location: As in :func:`torch.load`.
    """
    content = form.read(path, map_location)
    if (
        type(form) is TorchFile
        or map_location == 'meta'
        or (maps_files() and map_location == 'cpu')
    ):
        return content
    return replace_tensors(
        content,
        lambda _, tensor: _placed(tensor.whole(), map_location)
        if isinstance(tensor, StoredTensor)
        else tensor,
    )  # fmt: skip


def remove(path: str | Path) -> None:
    """Remove the checkpoint at a local path, if there is one.

    A folder gets another name first: what a kill leaves of it is not taken for a checkpoint.
    """
    for place in (os.fspath(path), replaced_beside(path)):
        if os.path.isdir(place) and not os.path.islink(place):
            draft = temporary_beside(os.path.abspath(place))
            os.rename(place, draft)
            remove_path(draft)
        elif os.path.lexists(place):
            os.unlink(place)


def link(source: str, target: str) -> None:
    """Make ``target`` another name for the checkpoint ``source``, or a copy of it."""
    found = find(source)
    if found is None:
        raise FileNotFoundError(2, 'There is no checkpoint at this path', source)
    place, form = found
    draft = temporary_beside(os.path.abspath(target))
    try:
        form.link(place, Path(draft))
        with room_for(target, is_file=os.path.isfile(draft)):
            os.replace(draft, target)
    except BaseException:
        remove_path(draft)
        raise


def room_for(target: str | Path, *, is_file: bool) -> AbstractContextManager[None]:
    """Context in which ``target`` gets its name.

    A file replaces a file in one step; for all else, what has the name is set aside.
    """
    return nullcontext() if is_file and not os.path.isdir(target) else set_aside(target)


def _placed(tensor: Tensor, map_location: Any) -> Tensor:
    """A tensor in host memory, where ``map_location`` of ``torch.load`` wants it."""
    if map_location is None:
        return tensor
    if isinstance(map_location, (str, torch.device)):
        return tensor.to(map_location)
    if isinstance(map_location, dict):
        return tensor.to(map_location.get('cpu', 'cpu'))
    storage = tensor.untyped_storage()
    moved = map_location(storage, 'cpu')
    if moved is None or moved is storage:
        return tensor
    return tensor.to(moved.device)


def _signature(path: Path) -> tuple[Any, ...]:
    found = path.stat()
    return os.path.realpath(path), found.st_ino, found.st_size, found.st_mtime_ns


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
