"""Where machines meet."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from mmengine.launch._meeting import meeting_arguments


def test_one_machine_meets_nobody() -> None:
    with meeting_arguments(None, '1', 0) as arguments:
        assert arguments == ['--standalone']


@pytest.mark.parametrize('nnodes', ['2', '1:2'])
def test_several_machines_need_a_place(nnodes: str) -> None:
    with pytest.raises(ValueError, match='--rdzv HOST:PORT'):
        with meeting_arguments(None, nnodes, 0):
            pass


@pytest.mark.parametrize('rdzv', ['gpu01', ':29400', 'gpu01:x'])
def test_another_form_is_refused(rdzv: str) -> None:
    with pytest.raises(ValueError, match='HOST:PORT or file:PATH'):
        with meeting_arguments(rdzv, '2', 0):
            pass


def test_machine_0_listens_at_an_address() -> None:
    for node, is_host in ((0, 1), (1, 0)):
        with meeting_arguments('gpu01:29400', '2', node, 'timeout=5') as arguments:
            assert '--rdzv-endpoint=gpu01:29400' in arguments
            assert f'--rdzv-conf=is_host={is_host},timeout=5' in arguments


def test_the_file_has_an_address_on_which_somebody_listens(tmp_path: Path) -> None:
    path, seen = tmp_path / 'meet', []

    def other_machine() -> None:
        with meeting_arguments(f'file:{path}', '2', 1) as arguments:
            seen.extend(arguments)

    waiting = threading.Thread(target=other_machine)
    waiting.start()  # before there is a file
    with meeting_arguments(f'file:{path}', '2', 0) as arguments:
        waiting.join()
        assert seen == arguments
        host, port = path.read_text().split(':')
        with socket.create_connection((host, int(port))):
            pass
    assert not path.exists()


def test_a_file_of_another_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'meet').write_text('gpu01:1')
    with pytest.raises(FileExistsError):
        with meeting_arguments(f'file:{tmp_path}/meet', '2', 0):
            pass
