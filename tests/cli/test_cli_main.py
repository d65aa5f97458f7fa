"""The command as a process of its own, and its entry points."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmengine.cli.__main__ import build_parser, main
from mmengine.testing._internal.forked_python import run_python

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    search_path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return {**os.environ, 'PYTHONPATH': search_path, 'OMP_NUM_THREADS': '1'}


def run(*words: str, cwd: Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def forked(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """:func:`run` in less time, where nothing depends on what is imported."""
    return run_python(words, cwd=cwd, env=environment())


def test_python_m_mmengine_exits_with_2_and_a_sentence_for_a_mistake(project: Path) -> None:
    done = forked('-m', 'mmengine', 'train', 'none.py', cwd=project)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith("mmengine train: error: no config file 'none.py'")


def test_a_failure_of_the_users_code_exits_with_1_and_its_traceback(project: Path) -> None:
    options = ['--cfg-options', 'model.bug=True']
    done = forked('-m', 'mmengine', 'train', 'toy.py', *options, cwd=project)
    assert done.returncode == 1
    assert 'Traceback (most recent call last)' in done.stderr
    assert 'cli_toy_project.py' in done.stderr


def test_help_costs_no_import_of_torch(project: Path) -> None:
    code = (
        'import sys\n'
        'from mmengine.cli.__main__ import main\n'
        'try:\n'
        "    main(['train', '--help'])\n"
        'except SystemExit as exit_:\n'
        "    sys.exit(exit_.code or 'torch' in sys.modules)\n"
    )
    assert run('-c', code, cwd=project).returncode == 0


@pytest.mark.distributed
def test_torchrun_trains_on_two_processes(project: Path) -> None:
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    command = ['-m', 'mmengine', 'train', 'toy.py', '--launcher', 'pytorch']
    done = forked(*launch, *command, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    # Eight samples in batches of four are one iteration for each of two ranks.
    assert '[1][1/1]' in done.stdout
    assert done.stdout.count('Last checkpoint') == 1
    assert 'destroy_process_group' not in done.stderr


def test_a_reader_that_leaves_is_no_error(project: Path) -> None:
    command = f'{sys.executable} -m mmengine config show toy.py; echo $? >&2'
    done = run(
        '-c',
        'import os, subprocess, sys\n'
        'process = subprocess.Popen(["sh", "-c", sys.argv[1]], stdout=subprocess.PIPE)\n'
        'process.stdout.close()\n'
        'process.wait()\n',
        command,
        cwd=project,
    )
    assert done.stderr.strip() == '0'


@pytest.mark.parametrize(
    'words', [['train'], ['test'], ['config', 'show'], ['config', 'diff'], ['env']], ids=' '.join
)
def test_help_shows_examples_that_parse(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*words, '--help'])
    assert exit_.value.code == 0
    shown = re.findall(
        r'^  mmengine (.*)$', capsys.readouterr().out.partition('examples:')[2], re.M
    )
    assert shown
    for line in shown:
        command = re.split(r'  +| > ', line)[0]
        build_parser().parse_args(command.split())


@pytest.mark.parametrize(
    'words',
    [[], ['trian'], ['train'], ['config'], ['train', 'a.py', '--amp', 'fp8']],
    ids=lambda words: ' '.join(words) or 'nothing',
)
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith('usage: mmengine')


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from mmengine.version import __version__

    with pytest.raises(SystemExit):
        main(['--version'])
    assert capsys.readouterr().out == f'mmengine {__version__}\n'


def test_the_summaries_of_commands_that_are_not_imported_are_those_of_their_modules() -> None:
    assert build_parser([]).format_help() == build_parser().format_help()


@pytest.mark.parametrize('words', [['--help'], ['--version']], ids=' '.join)
def test_help_needs_neither_torch_nor_numpy(words: list[str], project: Path) -> None:
    code = (
        'import sys\n'
        'from mmengine.cli.__main__ import main\n'
        'try:\n'
        f'    main({words})\n'
        'except SystemExit as exit_:\n'
        "    sys.exit(exit_.code or not {'torch', 'numpy'}.isdisjoint(sys.modules))\n"
    )
    assert run('-c', code, cwd=project).returncode == 0


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--resume-from', 'a.pth'], "does not take --resume-from a.pth. Did you mean '--resume'?"),
        (['--workdir', 'a'], "Did you mean '--work-dir'?"),
        (['--cfg-option', 'a=1', '--sed', '1'], "Did you mean '--seed'?"),
        (['--resume-with', 'a.pth'], 'The checkpoint to resume is given by --resume a.pth.'),
        (['--amp', 'default'], "invalid choice: 'default' (choose from"),
        (['--amp', 'fp32'], "'fp16', 'bf16')"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else '',
)  # fmt: skip
def test_a_wrong_option_is_told_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(['train', 'toy.py', *words])
    assert exit_.value.code == 2
    message = ' '.join(capsys.readouterr().err.split())
    assert told in message
    assert 'unrecognized' not in message


def test_ctrl_c_before_a_command_has_begun_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While modules are imported, for example."""

    def interrupted(commands: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('mmengine.cli.__main__.build_parser', interrupted)
    assert main(['env']) == 130
    assert capsys.readouterr().err == '\nInterrupted.\n'


@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='signals of POSIX')
def test_ctrl_c_at_the_exit_of_the_interpreter_shows_no_traceback(tmp_path: Path) -> None:
    """A shell reports 130 for a process that SIGINT has ended."""
    program = (
        'import atexit, os, signal, sys, time\n'
        'from mmengine.cli.__main__ import main\n'
        'atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(9)))\n'
        "sys.argv[1:] = ['completion', 'bash']\n"
        'sys.exit(main())\n'
    )
    done = run('-c', program, cwd=tmp_path)
    assert done.returncode == -signal.SIGINT
    assert done.stderr == ''
    assert 'mmengine' in done.stdout


def test_a_program_that_calls_main_keeps_its_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main(['completion', 'bash']) == 0
    assert signal.getsignal(signal.SIGINT) is before
