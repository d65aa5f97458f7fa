"""Programs that are forked instead of started end, and write, as a new interpreter's would."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmengine.testing._internal.forked_python import PythonProcess, run_python

pytestmark = [
    pytest.mark.distributed,  # for the server that forks
    pytest.mark.skipif(os.name != 'posix', reason='sessions of POSIX'),
]
ENDS = {
    'in order': 'import sys; print(sys.argv[1:]); sys.exit(3)',
    'with a text': "raise SystemExit('a text')",
    'with an error': "raise ValueError('an error')",
    'with what is left to do': 'import atexit; atexit.register(print, "at exit"); print("first")',
    'by a thread': (
        'import threading, time\n'
        'threading.Thread(target=lambda: (time.sleep(0.2), print("the last"))).start()'
    ),
    'by Ctrl-C': 'import os, signal; os.kill(os.getpid(), signal.SIGINT)',
    'under its name': 'import __main__; print(__name__, __main__.__name__)',
}


@pytest.mark.parametrize('end', ENDS)
def test_a_program_ends_and_writes_as_under_a_new_interpreter(end: str) -> None:
    arguments = ['-c', ENDS[end], 'one', 'a b']
    ours = run_python(arguments)
    theirs = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
    # The stacks are deeper here.
    assert ours.stderr.splitlines()[-1:] == theirs.stderr.splitlines()[-1:]


def test_scripts_and_modules_find_their_neighbours(tmp_path: Path) -> None:
    (tmp_path / 'of_path').mkdir()
    (tmp_path / 'of_path' / 'neighbour.py').write_text("NAME = 'of the path'\n")
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'a' / 'neighbour.py').write_text("NAME = 'beside the script'\n")
    program = (
        'import os, sys\n'
        'from neighbour import NAME\n'
        "if __name__ == '__main__':\n"
        "    print(NAME, sys.argv[1:], os.getcwd(), os.environ['ONLY'])\n"
    )
    for folder in ('a', 'b'):
        (tmp_path / folder / 'program.py').write_text(program)
    env = {'PYTHONPATH': str(tmp_path / 'of_path'), 'ONLY': 'here'}
    script = str(tmp_path / 'a' / 'program.py')
    done = run_python([script, 'x'], cwd=tmp_path, env=env)
    assert done.stdout == f"beside the script ['x'] {tmp_path} here\n", done.stderr
    done = run_python(['-m', 'program', 'y'], cwd=tmp_path / 'b', env=env)
    assert done.stdout == f"of the path ['y'] {tmp_path / 'b'} here\n", done.stderr


def test_a_killed_process_takes_its_children_along(tmp_path: Path) -> None:
    code = (
        'import os, time\n'
        'if os.fork() == 0:\n'
        '    open("child", "w").write(str(os.getpid()))\n'
        '    os.rename("child", "ready")\n'
        'time.sleep(1000)\n'
    )
    process = PythonProcess(['-c', code], tmp_path / 'output.txt', cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not (tmp_path / 'ready').exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = int((tmp_path / 'ready').read_text())
    process.kill()
    assert process.returncode == -signal.SIGKILL
    while _is_at_work(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_python(['-c', 'import time; time.sleep(1000)'], timeout_s=0.5)


def _is_at_work(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (ProcessLookupError, FileNotFoundError):
        return False
