"""Record everything again, and tell where the committed fixtures are not what MMCV 1.7.2 gives.

Strings, counts and float32 numbers must be equal, and numbers of double precision but for their
last digits. What only the projects' own packages can give is not recorded again.
"""

import sys
import tempfile
from pathlib import Path

from mmcv_runs.fixtures import FIXTURES, differing, of_projects, read
from mmcv_runs.record import record


def main():
    """Compare; the exit code says whether all is as MMCV gives it."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        record(Path(scratch))
        for name, place in FIXTURES.items():
            now, committed = read(Path(scratch, name)), read(place)
            if name == 'curves.json':
                now |= of_projects(committed)
            different = differing(now, committed)
            for case in different:
                print(f'{name}: {case} is not what MMCV gives')
            failed += len(different)
            print(f'{name}: {len(committed)} cases, {len(different)} not as MMCV gives them')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
