"""Checkpoints that are mapped into memory, so that a rank does not hold the whole."""

import sys
from pathlib import Path

import pytest
import torch

from mmengine._checkpoint.files import mapped_reads, read_checkpoint

WEIGHTS = {'weight': torch.arange(6.0).reshape(2, 3)}


def _is_mapped(tensor: torch.Tensor, path: Path) -> bool:
    """Whether the system lists the memory of ``tensor`` as a part of the file."""
    for line in Path('/proc/self/maps').read_text().splitlines():
        first, last = (int(number, 16) for number in line.split()[0].split('-'))
        if first <= tensor.data_ptr() < last:
            return line.endswith(str(path))
    return False


@pytest.mark.skipif(sys.platform != 'linux', reason='reads the table of mappings in /proc')
def test_a_file_is_mapped_in_the_context_only(tmp_path: Path) -> None:
    path = tmp_path / 'net.pth'
    torch.save(WEIGHTS, path)
    with mapped_reads():
        mapped = read_checkpoint(path, 'cpu')['weight']
    assert _is_mapped(mapped, path)
    assert not _is_mapped(read_checkpoint(path, 'cpu')['weight'], path)
    assert torch.equal(mapped, WEIGHTS['weight'])
    path.unlink()
    mapped += 1  # the file is not changed, and may be gone
    assert torch.equal(mapped, WEIGHTS['weight'] + 1)


def test_old_and_open_files_are_read_as_usual(tmp_path: Path) -> None:
    path = tmp_path / 'old.pth'
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    with mapped_reads():
        assert torch.equal(read_checkpoint(path, 'cpu')['weight'], WEIGHTS['weight'])
        torch.save(WEIGHTS, path)
        with path.open('rb', buffering=0) as file:
            assert torch.equal(read_checkpoint(file, 'cpu')['weight'], WEIGHTS['weight'])
