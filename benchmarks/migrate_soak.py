"""Training scripts and whole projects drawn at random, run under MMCV 1.7.2 and, migrated, here.

    python benchmarks/migrate_soak.py --mmcv-python .venv-mmcv/bin/python --projects 500
    python benchmarks/migrate_soak.py --mmcv-python .venv-mmcv/bin/python --scripts 500

A part of the same draws is in the test suite, with recorded numbers. Equal are draws without any
mark that give MMCV's numbers, and that a second migration leaves as they are. Diverged are those
whose weights were no numbers any more under MMCV, where Runner stops. The exit code is 1 if a
script or project gives other numbers than under MMCV and is not marked, or if a second migration
changes a file.
"""

import argparse
import contextlib
import io
import json
import logging
import math
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

TESTS = Path(__file__).parents[1] / 'tests' / 'migrate'
CODE, PROJECTS = TESTS / 'code', TESTS / 'project'
sys.path[:0] = [str(CODE), str(PROJECTS)]


def main():
    """Draw, record, migrate, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--mmcv-python', help='of an environment with MMCV 1.7.2')
    parser.add_argument('--scripts', type=int, default=0)
    parser.add_argument('--projects', type=int, default=0)
    parser.add_argument('--first', type=int, default=1000)
    options = parser.parse_args()
    if options.mmcv_python is None:
        print('not run: it needs --mmcv-python, an environment with MMCV 1.7.2')
        return 0
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = _projects(options, folder) if options.projects else {}
        if options.scripts:
            recorded = _recorded(
                options, CODE / 'record_mmcv_code.py', options.scripts, folder / 'scripts.json'
            )
            _migrate_parts(folder / 'scripts')
            sys.path.insert(0, str(folder / 'scripts'))
            found |= {name: _outcome(name, mmcv, folder) for name, mmcv in recorded.items()}
    kinds = ('equal', 'marked', 'refused', 'diverged')
    counts = {kind: list(found.values()).count(kind) for kind in kinds}
    different = [name for name, kind in found.items() if kind not in counts]
    print('marked:', ', '.join(name for name, kind in found.items() if kind == 'marked') or 'none')
    for name in different:
        print(f'{name}: {found[name]}')
    print(f'{len(found)} drawn: {counts}, {len(different)} different without a mark')
    return 1 if different else 0


def _projects(options, folder):
    from compare_projects import verdict

    script = PROJECTS / 'record_projects.py'
    recorded = _recorded(options, script, options.projects, folder / 'projects.json')
    return {f'project {seed}': verdict(int(seed), mmcv, folder) for seed, mmcv in recorded.items()}


def _recorded(options, script, count, path):
    last = options.first + count
    command = [options.mmcv_python, str(script), str(path), str(options.first), str(last)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads(path.read_text())


def _migrate_parts(folder):
    from mmengine.migrate._code import convert

    folder.mkdir()
    text = (CODE / 'scripts' / 'parts.py').read_text()
    (folder / 'parts.py').write_text(convert.convert_source(text).new)


def _outcome(name, mmcv, folder):
    """'equal', 'marked', 'refused' (by MMCV), or what differs."""
    import random_scripts

    from mmengine.migrate._code import convert

    if 'error' in mmcv:
        return 'refused'
    conversion = convert.convert_source(random_scripts.script(int(name.partition('/')[2])))
    if conversion.todo:
        return 'marked'
    space = {'__name__': name}
    work_dir = folder / 'work' / name
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            exec(compile(conversion.new, name, 'exec'), space)
            ours = space['main'](['--work-dir', str(work_dir)])
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    ours['files'] = sorted(path.name for path in work_dir.glob('*.pth'))
    return _difference(ours, mmcv)


def _difference(ours, mmcv):
    if ours['files'] != mmcv['files']:
        return f'files {ours["files"]}, under MMCV {mmcv["files"]}'
    if ours['parameters'] != mmcv['parameters']:
        return f'parameters {ours["parameters"]}, under MMCV {mmcv["parameters"]}'
    for one, other in zip(ours['seen'], mmcv['seen'], strict=True):
        close = all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(one, other, strict=True))
        if not close:
            return f'a hook saw {one}, under MMCV {other}'
    return 'equal'


if __name__ == '__main__':
    sys.exit(main())
