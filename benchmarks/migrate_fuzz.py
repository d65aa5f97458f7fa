"""Broken inputs of the migration commands, drawn at random.

    python benchmarks/migrate_fuzz.py --inputs 5000

The exit code is 1 if a command ends in a traceback, or a second run changes a file.
"""

import argparse
import logging
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests' / 'migrate' / 'project'))


def main():
    """Draw, run, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--inputs', type=int, default=300)
    parser.add_argument('--first', type=int, default=1000)
    parser.add_argument('--processes', type=int, default=2)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.inputs)
    context = get_context('forkserver')
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(options.processes, context, _quiet) as pool,
    ):
        found = dict(zip(seeds, pool.map(partial(_fault, folder), seeds, chunksize=5), strict=True))
    faults = {seed: fault for seed, fault in found.items() if fault}
    for seed, fault in faults.items():
        print(f'{seed}: {fault}')
    print(f'{len(found)} broken inputs, {len(faults)} faults')
    return 1 if faults else 0


def _quiet():
    logging.disable(logging.CRITICAL)
    warnings.simplefilter('ignore')


def _fault(folder, seed):
    from broken_inputs import fault_of

    return fault_of(seed, folder)


if __name__ == '__main__':
    sys.exit(main())
