"""doctor as a whole: its areas, what a failed check does, the command."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmengine.cli import doctor as cli_doctor
from mmengine.cli.__main__ import main
from mmengine.doctor import Finding, _collectives, _doctor, doctor
from mmengine.doctor._collectives import sum_finding
from mmengine.doctor._text import lines_of, print_findings, summary_of
from mmengine.utils.errors import ArgumentError

FOUND = [
    Finding('software', 'python', 'ok', '3.11.7'),
    Finding('disk', 'write', 'warn', '20 MB/s, fsync 3 ms', 'Save to a faster disk.'),
    Finding('devices', 'cuda:0', 'fail', 'a wrong matrix product', 'Do not train on it.'),
]


def stubbed(monkeypatch: pytest.MonkeyPatch, findings: list[Finding]) -> None:
    for name in ('software', 'devices', 'collectives', 'limits'):
        mine = [finding for finding in findings if finding.area == name]
        monkeypatch.setattr(_doctor, f'check_{name}', lambda mine=mine: iter(mine))


@pytest.mark.distributed
def test_two_real_processes_sum() -> None:
    found = sum_finding('gloo', 2, timeout_s=60)
    assert (found.name, found.status) == ('gloo, 2 ranks', 'ok'), found
    assert found.found.startswith('a sum of 4.19 MB takes ')


def test_a_rank_that_fails_is_a_finding_with_its_last_line(monkeypatch: Any) -> None:
    def start(*_: Any) -> subprocess.Popen[str]:
        code = 'import sys; print("Traceback\\n  here\\nRuntimeError: no route", file=sys.stderr)'
        return subprocess.Popen([sys.executable, '-c', f'{code}; sys.exit(1)'], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    monkeypatch.setattr(_collectives, '_start', start)
    found = sum_finding('gloo', 2, timeout_s=60)
    assert (found.status, found.found) == ('fail', 'RuntimeError: no route')
    assert 'GLOO_SOCKET_IFNAME' in found.advice


def test_ranks_that_hang_are_ended(monkeypatch: Any) -> None:
    started = []

    def start(*_: Any) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(['sleep', '600'], text=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE))  # fmt: skip
        return started[-1]

    monkeypatch.setattr(_collectives, '_start', start)
    found = sum_finding('gloo', 2, timeout_s=0.2)
    assert (found.status, found.found) == ('fail', 'no answer in time')
    assert all(process.returncode is not None for process in started)


def test_the_areas_come_in_order(monkeypatch: Any, tmp_path: Path) -> None:
    stubbed(monkeypatch, FOUND)
    told: list[str] = []
    found = doctor(work_dir=tmp_path / 'runs', tell=told.append)
    assert told == ['software', 'devices', 'collectives', 'disk', 'limits']
    assert [each for each in found if each.area != 'disk'] == [FOUND[0], FOUND[2]]
    assert {each.name for each in found if each.area == 'disk'} >= {'space', 'write'}
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(
    monkeypatch: Any, tmp_path: Path
) -> None:
    def breaks() -> Iterator[Finding]:
        yield FOUND[0]
        raise OSError('no such device')

    stubbed(monkeypatch, FOUND)
    monkeypatch.setattr(_doctor, 'check_software', breaks)
    found = doctor(work_dir=tmp_path)
    assert found[0] == FOUND[0]
    assert (found[1].status, found[1].found) == ('fail', 'OSError: no such device')
    assert found[2] == FOUND[2]


def test_single_areas(monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stubbed(monkeypatch, FOUND)
    assert doctor(only=['devices', 'software']) == [FOUND[0], FOUND[2]]
    with pytest.raises(ArgumentError, match=r"no area 'disc'.*disk"):
        doctor(only=['disc'])
    assert main(['doctor', '--only', 'data']) == 2
    assert 'needs a config' in capsys.readouterr().err


def test_areas_of_the_command_are_those_of_the_function() -> None:
    assert cli_doctor._AREAS == _doctor.AREAS


def test_lines_name_status_and_advice() -> None:
    assert lines_of(FOUND) == [
        'ok    software     python  3.11.7',
        'warn  disk         write   20 MB/s, fsync 3 ms',
        '                           Save to a faster disk.',
        'fail  devices      cuda:0  a wrong matrix product',
        '                           Do not train on it.',
    ]
    assert summary_of(FOUND) == '1 of 3 checks failed, 1 are warnings.'
    assert summary_of(FOUND[:1]) == 'All 1 checks are ok.'


def test_the_table_fits_a_narrow_terminal() -> None:
    console = Console(force_terminal=True, width=60, color_system=None, record=True)
    print_findings(FOUND, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 60
    assert all(each.found.split()[0] in text for each in FOUND)


@pytest.mark.parametrize(('findings', 'code'), [(FOUND, 1), (FOUND[:2], 0)], ids=['fail', 'ok'])
def test_the_exit_code_of_the_command(
    findings: list[Finding], code: int, monkeypatch: Any, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stubbed(monkeypatch, findings)
    monkeypatch.setattr(_doctor, 'check_disk', lambda _: iter(FOUND[1:2]))
    assert main(['doctor', '--work-dir', str(tmp_path), '--json']) == code
    shown = json.loads(capsys.readouterr().out)
    assert {each['status'] for each in shown} == {finding.status for finding in findings}
    assert main(['doctor', '--work-dir', str(tmp_path)]) == code
    assert 'Save to a faster disk.' in capsys.readouterr().out


def test_a_config_that_is_not_there_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', 'none.py']) == 2
    assert "no config file 'none.py'" in capsys.readouterr().err
