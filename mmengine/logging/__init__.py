"""Logger, message hub and histories of scalars."""

from mmengine.dist._warn import warn_once
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.logging.logger import MMLogger, print_log
from mmengine.logging.message_hub import MessageHub

__all__ = ['HistoryBuffer', 'MMLogger', 'MessageHub', 'print_log', 'warn_once']
