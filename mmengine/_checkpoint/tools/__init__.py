"""What ``mmengine ckpt`` does, as functions of the same names.

``ls``, ``verify``, ``inspect`` and ``diff`` look at checkpoints and return plain dicts and lists.
``average``, ``publish``, ``convert`` and ``rm`` write or remove files. All of them take ``.pth``
and ``.safetensors`` files and sharded folders, of this engine or another one, and execute nothing
that is in them.
"""

from mmengine._checkpoint.tools._look import diff, inspect, ls, verify
from mmengine._checkpoint.tools._make import average, convert, publish
from mmengine._checkpoint.tools._remove import rm

__all__ = ['average', 'convert', 'diff', 'inspect', 'ls', 'publish', 'rm', 'verify']
