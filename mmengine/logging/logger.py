"""The logger of a run: console and files of all ranks, in one format."""

from __future__ import annotations

import logging
import logging.handlers
import os
import socket
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import torch

from mmengine.dist import get_rank, get_world_size
from mmengine.utils.errors import ArgumentError, did_you_mean
from mmengine.utils.manager import ManagerMixin

_CONSOLE_TIME = '%m/%d %H:%M:%S'
_FILE_TIME = '%Y/%m/%d %H:%M:%S'
_COLORS = {
    logging.DEBUG: '33',
    logging.INFO: '37',
    logging.WARNING: '33',
    logging.ERROR: '31',
    logging.CRITICAL: '35',
}
_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
#: ``logger.error(text, extra=FILES_ONLY)``: for what the process shows by itself, as a traceback.
FILES_ONLY = {'is_for_files_only': True}
# A warning whose text contains a step number is new at every step, so limit the memory of texts.
_MAX_REMEMBERED_WARNINGS = 10_000

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:  # cannot be subscribed on Python 3.10
    _StreamHandler = logging.StreamHandler


class UnknownLevelError(ArgumentError, KeyError, TypeError):
    """No log level has this name; the API raised one kind or another of these."""

    __str__ = ArgumentError.__str__


class MMFormatter(logging.Formatter):
    """``time - name - LEVEL - message``, and from ERROR on the place in the code too.

    Args:
        color: Color the level, where standard output is a terminal that shows colors.
        blink: Let the level blink too.
        kwargs: Arguments of ``logging.Formatter``, such as ``datefmt``.
    """

    def __init__(self, color: bool = True, blink: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._color = color
        self._blink = blink

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; a traceback follows on separate lines."""
        level = record.levelname
        if self._color and _shows_color(sys.stdout):
            codes = _COLORS.get(record.levelno, '37') + (';5' if self._blink else '')
            level = f'\x1b[{codes}m{level}\x1b[0m'
        parts = [self.formatTime(record, self.datefmt), record.name, level]
        if record.levelno >= logging.ERROR:
            parts += [record.pathname, str(record.funcName), str(record.lineno)]
        line = ' - '.join([*parts, record.getMessage()])
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line = f'{line}\n{record.exc_text}'
        if record.stack_info:
            line = f'{line}\n{self.formatStack(record.stack_info)}'
        return line


class FilterDuplicateWarning(logging.Filter):
    """Passes a warning of the same text once; records of other levels always.

    Args:
        name: Name of the filter.
    """

    def __init__(self, name: str = 'mmengine') -> None:
        super().__init__(name)
        self._seen: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        if record.levelno != logging.WARNING:
            return True
        text = record.getMessage()
        if text in self._seen:
            return False
        if len(self._seen) >= _MAX_REMEMBERED_WARNINGS:
            del self._seen[next(iter(self._seen))]
        self._seen[text] = None
        return True


class MMLogger(logging.Logger, ManagerMixin):
    """A ``logging.Logger`` that writes to the console and, on request, to a file.

    Rank 0 logs records of ``log_level`` and above. Other ranks print errors only; with
    ``distributed=True`` each of them also writes records of ``log_level`` and above to a separate
    file beside the file of rank 0. Records are not passed to the root logger, so that no line
    appears twice. A warning of the same text is shown once. A handler that is added later gets
    every record.

    Args:
        name: Name of the instance; see ``get_instance``.
        logger_name: Name shown in each line.
        log_file: File to write; its folder is made if it is missing.
        log_level: Lowest level that is logged: a name such as ``'INFO'``, or a number.
        file_mode: ``'w'`` overwrites the file, ``'a'`` appends to it.
        distributed: Let each rank write its own file.
        file_handler_cfg: Another class for the file: ``dict(type='RotatingFileHandler',
            maxBytes=...)``; the types are ``FileHandler`` and the classes of
            ``logging.handlers`` that write files.

    Raises:
        ArgumentError: If ``file_handler_cfg`` has no ``type``, or one that is not known.
        ValueError: If the level is not known.

    Example:
        >>> logger = MMLogger.get_instance('doc', log_level='WARNING')
        >>> logger.info('not shown')
    """

    _is_of_run = True
    _holds_files = True

    def __init__(
        self,
        name: str,
        logger_name: str = 'mmengine',
        log_file: str | None = None,
        log_level: int | str = 'INFO',
        file_mode: str = 'w',
        distributed: bool = False,
        file_handler_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        logging.Logger.__init__(self, logger_name)
        ManagerMixin.__init__(self, name)
        # The file is closed when the logger is deleted, or by the logging module at the end of the
        # program, after the last messages.
        weakref.finalize(self, _close_all, self.handlers).atexit = False
        rank = _get_rank()
        level = _level_number(log_level)
        self._log_file: str | None = None
        # Handlers whose level setLevel may lower, each with the level that it was made with and the
        # level that it was given last. The console of another rank stays at ERROR.
        self._levelled: dict[logging.Handler, tuple[int, int]] = {}

        console = _ConsoleHandler()
        console.setFormatter(MMFormatter(color=True, datefmt=_CONSOLE_TIME))
        self._attach(console, level if rank == 0 else logging.ERROR, follows=rank == 0)
        if log_file is not None and (rank == 0 or distributed):
            if _get_world_size() > 1 and distributed:
                log_file = _file_of_this_rank(str(log_file))
            self._log_file = str(log_file)
            file_handler = _open_file(self._log_file, file_mode, file_handler_cfg)
            file_handler.setFormatter(MMFormatter(color=False, datefmt=_FILE_TIME))
            self._attach(file_handler, level, follows=True)

    @property
    def log_file(self) -> str | None:
        """Path of the file that this rank writes; None when it writes none."""
        return self._log_file

    @classmethod
    def get_current_instance(cls) -> MMLogger:
        """The logger created last; one named ``mmengine`` if there is none yet."""
        if not cls._instance_dict:
            cls.get_instance('mmengine')
        return super().get_current_instance()

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Pass the record to the handlers of this logger only."""
        for handler in self.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
        if not self._holds_files:
            self._close_streams()

    def setLevel(self, level: int | str) -> None:
        """Log records of ``level`` and above, in the console and in the file.

        A level above their own keeps records from all handlers. A lower one lowers their own, until
        the logger's goes up again. A handler whose level was set by hand keeps it.

        Raises:
            ValueError: If the level is not known.
        """
        self.level = _level_number(level)
        for handler, (made_with, given) in self._levelled.items():
            if handler.level == given:
                lowered = made_with if self.level == logging.NOTSET else min(made_with, self.level)
                handler.setLevel(lowered)
                self._levelled[handler] = (made_with, lowered)

    def isEnabledFor(self, level: int) -> bool:
        """Whether a record of ``level`` would be logged."""
        # The base class caches the result, and clears the cache only for loggers made by getLogger.
        return not self.disabled and level > self.manager.disable and level >= self.level

    def hold_files(self, hold: bool) -> None:
        """Keep files open between two records, as usual, or open them for each record.

        A run that has ended holds no file. A later record is still appended.
        """
        self._holds_files = hold
        if not hold:
            self._close_streams()

    def _close_streams(self) -> None:
        for handler in self.handlers:
            if isinstance(handler, logging.FileHandler) and handler.stream is not None:
                handler.acquire()
                try:
                    handler.mode = 'a'  # it is opened again by the next record
                    handler.stream.close()
                    handler.stream = None  # type: ignore[assignment]  # as in FileHandler(delay=True)
                finally:
                    handler.release()

    def close(self) -> None:
        """Close the file and drop all handlers; a later record goes nowhere."""
        _close_all(self.handlers)
        self._levelled.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is the instance of that name, so objects that hold a logger can be copied."""
        return type(self).get_instance, (self.instance_name,)

    def _attach(self, handler: logging.Handler, level: int, *, follows: bool) -> None:
        handler.setLevel(level)
        # On the handler, not on the logger: whoever adds a handler of another kind gets everything.
        handler.addFilter(FilterDuplicateWarning(self.name))
        self.addHandler(handler)
        if follows:
            self._levelled[handler] = (level, level)


_rule: Callable[[logging.LogRecord], bool] | None = None


@contextmanager
def console_rule(rule: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    """Let the consoles of all loggers show only records that pass ``rule``; files get all."""
    global _rule
    before, _rule = _rule, rule
    try:
        yield
    finally:
        _rule = before


class _ConsoleHandler(_StreamHandler):
    """Writes to the current ``sys.stdout``, which a progress display may have replaced."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    def handle(self, record: logging.LogRecord) -> bool:
        """Show the record, if the rule of :func:`console_rule` lets it pass."""
        if FILES_ONLY.keys() <= vars(record).keys():
            return False
        return bool((_rule is None or _rule(record)) and super().handle(record))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a plain attribute in the base class
        return sys.stdout


def print_log(
    msg: object, logger: logging.Logger | str | None = None, level: int | str = logging.INFO
) -> None:
    """Log ``msg``, or print it.

    Args:
        msg: The message.
        logger: Where it goes: None prints it; ``'silent'`` drops it; ``'current'`` is the latest
            ``MMLogger``; another string is the name of an ``MMLogger`` instance; a
            ``logging.Logger`` is used as it is.
        level: Level of the message, for a logger.

    Raises:
        ValueError: If no ``MMLogger`` instance has the given name.
        TypeError: If ``logger`` has another type.
    """
    if logger is None:
        print(msg)
        return
    if isinstance(logger, str):
        if logger == 'silent':
            return
        if logger == 'current':
            logger = MMLogger.get_current_instance()
        elif MMLogger.check_instance_created(logger):
            logger = MMLogger.get_instance(logger)
        else:
            raise ValueError(
                f'There is no MMLogger named {logger!r}.'
                f'{did_you_mean(logger, MMLogger._instance_dict)} '
                f'Create it with MMLogger.get_instance({logger!r}).'
            )
    if not isinstance(logger, logging.Logger):
        raise TypeError(
            "logger must be a logging.Logger, the name of an MMLogger, 'current', 'silent' "
            f'or None, got {type(logger).__name__}.'
        )
    logger.log(_level_number(level), msg, stacklevel=2)


def _level_number(level: int | str) -> int:
    if isinstance(level, str):
        number = logging.getLevelName(level.upper())
        if not isinstance(number, int):
            raise UnknownLevelError(
                f'{level!r} is not a log level.{did_you_mean(level, _LEVELS)} '
                f'Known: {", ".join(_LEVELS)}.'
            )
        return number
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f'A log level is a name or an int, got {type(level).__name__}.')
    return level


def _close_all(handlers: list[logging.Handler]) -> None:
    while handlers:
        handlers.pop().close()


def _shows_color(stream: Any) -> bool:
    if os.environ.get('NO_COLOR'):
        return False
    if os.environ.get('FORCE_COLOR'):
        return True
    return bool(getattr(stream, 'isatty', lambda: False)()) and os.environ.get('TERM') != 'dumb'


def _open_file(path: str, mode: str, cfg: Mapping[str, Any] | None) -> logging.Handler:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if cfg is None:
        return logging.FileHandler(path, mode, encoding='utf-8')
    known: dict[str, Any] = {'FileHandler': logging.FileHandler, **_get_logging_file_handlers()}
    kind = cfg.get('type')
    if kind not in known:
        raise ArgumentError(
            f"file_handler_cfg needs a 'type' among {', '.join(known)}, got {kind!r}."
            f'{did_you_mean(str(kind), known)}'
        )
    options = {key: value for key, value in cfg.items() if key != 'type'}
    handler: logging.Handler = known[kind](path, **{'encoding': 'utf-8', **options})
    return handler


def _file_of_this_rank(path: str) -> str:
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    rank = _get_rank()
    return os.path.join(
        folder, f'{stem}_{_get_host_info()}_device{_get_device_id()}_rank{rank}{suffix}'
    )


def _get_rank() -> int:
    """Rank of this process; 0 outside a process group."""
    return get_rank()


def _get_world_size() -> int:
    """Number of processes; 1 outside a process group."""
    return get_world_size()


def _get_device_id() -> int | str:
    """The device of this process as the machine numbers it; without any, its rank there."""
    local_rank = int(os.environ.get('LOCAL_RANK', 0))
    if torch.cuda.is_available():
        # What is visible may be a part of the machine's devices, named by numbers or by UUIDs.
        visible = os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')
        if visible != [''] and local_rank < len(visible):
            return visible[local_rank].strip().replace('/', '-')
        return local_rank
    if torch.accelerator.is_available():
        return torch.accelerator.current_device_index()
    return local_rank


def _get_host_info() -> str:
    """``user@host``, for names of files; empty parts where the system has none."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no entry
        user = ''
    return f'{user}@{socket.gethostname()}'


def _get_logging_file_handlers() -> dict[str, type[logging.FileHandler]]:
    """The classes of ``logging.handlers`` that write files, by name."""
    return {
        name: kind
        for name, kind in vars(logging.handlers).items()
        if isinstance(kind, type) and issubclass(kind, logging.FileHandler)
    }
