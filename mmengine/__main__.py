"""``python -m mmengine`` is the command ``mmengine``."""

import sys

from mmengine.cli.__main__ import main

if __name__ == '__main__':
    sys.exit(main())
