"""Pictures of what a user sees, in docs/images: `make pictures`.

The terminal is a real one of tmux, in which `mmengine init` and `train` run; rich makes an SVG of
its letters and colours. The page of the report is opened in Chromium.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).parents[1]))

from _generate.browser import Browser

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / 'docs' / 'images'
# The folder of a picture has a longer name than is shown.
COLUMNS, SHOWN_COLUMNS, LINES = 124, 102, 34
# Long enough that one can look at it in the middle.
SLOW = '--cfg-options train_cfg.max_epochs=12'
LIMIT_S = 120.0


class Terminal:
    """A terminal of tmux with a shell in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tmux = ['tmux', '-L', f'pictures{os.getpid()}', '-f', '/dev/null']
        programs = folder / '.bin'
        programs.mkdir()
        (programs / 'mmengine').write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -W ignore -m mmengine "$@"\n'
        )
        (programs / 'mmengine').chmod(0o755)
        environment = {
            **os.environ,
            'PATH': f'{programs}:{os.environ["PATH"]}',
            'PYTHONPATH': str(ROOT),
            'COLORTERM': 'truecolor',
            'OMP_NUM_THREADS': '1',
        }
        size = ['-x', str(COLUMNS), '-y', str(LINES)]
        shell = "exec env PS1='$ ' bash --norc --noprofile"  # a shell in between drops it
        subprocess.run(
            [*self._tmux, 'new-session', '-d', *size, '-c', str(folder), shell],
            env=environment,
            check=True,
        )

    def type(self, *keys: str) -> None:
        """Press keys, by the names of tmux."""
        subprocess.run([*self._tmux, 'send-keys', *keys], check=True)

    def run(self, line: str, until: Callable[[str], bool]) -> None:
        """Type a line, and wait for what is shown."""
        self.type('-l', line)
        self.type('Enter')
        self.wait(until)

    def wait(self, until: Callable[[str], bool]) -> None:
        """Wait for what is shown."""
        deadline = time.monotonic() + LIMIT_S
        while not until(self.shown()):
            if time.monotonic() > deadline:
                raise SystemExit(f'This is all that is shown:\n{self.shown()}')
            time.sleep(0.05)

    def shown(self, *options: str) -> str:
        """The text, with lines that have left the screen."""
        command = [*self._tmux, 'capture-pane', '-p', '-J', '-S', '-', *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return '\n'.join(line.rstrip() for line in done.stdout.rstrip().splitlines())

    def picture(self, title: str) -> str:
        """What is shown, as an SVG."""
        # The folder has a random name, and differs in every picture.
        text = self.shown('-e').replace(str(self._folder), '~')
        console = Console(width=SHOWN_COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi(text), soft_wrap=False)
        svg = console.export_svg(title=title, theme=MONOKAI, unique_id=f'terminal-{len(text)}')
        # A page of the site loads nothing from elsewhere.
        return re.sub(r'@font-face \{.*?\}\s*', '', svg, flags=re.S)

    def close(self) -> None:
        """End the shell."""
        subprocess.run([*self._tmux, 'kill-server'], check=False)


def terminals(folder: Path) -> None:
    """Pictures of a training at work, at its end, and interrupted."""
    terminal = Terminal(folder)
    try:
        terminal.run('mmengine init && cd classification', lambda text: 'report' in text)
        terminal.run('clear', lambda text: 'init' not in text)
        subprocess.run([*terminal._tmux, 'clear-history'], check=True)
        terminal.run(f'mmengine train config.py {SLOW}', lambda text: _rows(text) >= 4)
        _write('terminal_live.svg', terminal.picture('a training at work'))
        terminal.wait(lambda text: text.endswith('$') and 'Last checkpoint' in text)
        _write('terminal_end.svg', terminal.picture('its end'))
        terminal.run('rm -r work_dirs; clear', lambda text: 'Last checkpoint' not in text)
        subprocess.run([*terminal._tmux, 'clear-history'], check=True)
        terminal.run(f'mmengine train config.py {SLOW}', lambda text: _rows(text) >= 2)
        terminal.type('C-c')
        terminal.wait(lambda text: text.endswith('$') and 'Go on with' in text)
        _write('terminal_interrupted.svg', terminal.picture('after Ctrl-C'))
        terminal.run('mmengine train config.py --resume', lambda text: 'Next' in text)
        terminal.run('mmengine report work_dirs/config', lambda text: 'report.html' in text)
    finally:
        terminal.close()


def pages(folder: Path) -> None:
    """Pictures of the report of these trainings, for a screen and a phone."""
    (page,) = folder.rglob('report.html')
    with Browser() as browser:
        for width, height in ((1280, 1000), (390, 844)):
            target = IMAGES / f'report_{width}.png'
            wide = browser.take(page.as_uri(), target, width, height)
            if wide > width:
                raise SystemExit(f'The report is {wide:g} pixels wide on a screen of {width}.')
            print(f'{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes')


def _rows(text: str) -> int:
    return len(re.findall(r'^ +\d+ .* \d:\d\d:\d\d', text, re.M))


def _write(name: str, svg: str) -> None:
    (IMAGES / name).write_text(svg, encoding='utf-8')
    print(f'docs/images/{name}: {len(svg):,} bytes')


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as _folder:
        terminals(Path(_folder))
        pages(Path(_folder))
