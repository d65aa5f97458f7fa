"""Pictures of pages, taken by a Chromium without a window."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome')


class Browser:
    """Chromium, driven over two pipes by its own protocol.

    Example::

        with Browser() as browser:
            browser.take('file:///tmp/page.html', Path('page.png'), width=390)
    """

    def __init__(self) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise SystemExit(f'None of {", ".join(PROGRAMS)} is installed: apt install chromium')
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # Chromium reads from 3 and writes to 4.
        command = (
            f'exec "{program}" --headless=new --no-sandbox --disable-gpu --hide-scrollbars '
            f'--user-data-dir="{self._profile.name}" --remote-debugging-pipe about:blank '
            f'3<&{to_browser} 4>&{from_browser}'
        )
        self._process = subprocess.Popen(
            ['bash', '-c', command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number = 0
        self._received = b''
        self._session: str | None = None
        (page,) = [
            one for one in self._call('Target.getTargets')['targetInfos'] if one['type'] == 'page'
        ]
        attached = self._call('Target.attachToTarget', targetId=page['targetId'], flatten=True)
        self._session = attached['sessionId']
        self._call('Page.enable')

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def take(
        self, url: str, target: Path, width: int, height: int = 900, is_dark: bool = False
    ) -> float:
        """Write a picture of the top of a page.

        Returns:
            The width of its content; larger than ``width`` if the page scrolls sideways.
        """
        scheme = {'name': 'prefers-color-scheme', 'value': 'dark' if is_dark else 'light'}
        self._call('Emulation.setEmulatedMedia', features=[scheme])
        self._call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self._call('Page.navigate', url=url)
        self._until('Page.loadEventFired')
        # Two frames later everything is drawn.
        drawn = 'new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(1))))'
        self._call('Runtime.evaluate', expression=drawn, awaitPromise=True)
        picture = self._call('Page.captureScreenshot', format='png')
        target.write_bytes(base64.b64decode(picture['data']))
        wide = self._call('Runtime.evaluate', expression='document.documentElement.scrollWidth')
        return float(wide['result']['value'])

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {'id': self._number, 'method': method, 'params': params}
        if self._session is not None:
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == self._number:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]["message"]}')
                result: dict[str, Any] = answer['result']
                return result

    def _until(self, event: str) -> None:
        while self._next().get('method') != event:
            pass

    def _next(self) -> dict[str, Any]:
        while b'\0' not in self._received:
            part = os.read(self._read, 1 << 16)
            if not part:
                raise RuntimeError('Chromium has ended.')
            self._received += part
        text, _, self._received = self._received.partition(b'\0')
        message: dict[str, Any] = json.loads(text)
        return message
