"""``mmengine launch``: starts the ranks of a run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mmengine.cli.options import new_parser

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_EXAMPLES = """\
  mmengine launch local --nproc 2 config.py --work-dir runs/a
  mmengine launch local --nproc 2 train.py ARGS
  mmengine launch local --nnodes 2 --node-rank 0 --rdzv gpu01:29400 config.py
  mmengine launch local --nnodes 1:2 --max-restarts 3 --rdzv gpu01:29400 config.py
  mmengine launch slurm config.py --nodes 2 --gpus-per-node 8 --time 24:00:00 --requeue --dry-run
  mmengine launch slurm config.py --nodes 2 --gpus-per-node 8 -- --partition=long --mem=0
"""
_LOCAL = """\
Train CONFIG, or run a script, on ranks of this machine under torchrun. What follows CONFIG are
options of `mmengine train`, or arguments of the script.

Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP go on to the ranks: the run saves its state and ends, and is not
started again. The exit code of the run passes."""
_SLURM = """\
Write a batch script for CONFIG, or for a script, and submit it. Options that are not listed here
are options of `mmengine train`, or arguments of the script. What follows -- goes to sbatch."""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands, 'launch', 'start the ranks of a run', 'Start the ranks of a run.', _EXAMPLES
    )
    places = parser.add_subparsers(dest='place', metavar='PLACE', required=True)
    local = _subparser(places, 'local', 'on this machine, alone or with others', _LOCAL)
    _add_local_options(local)
    _add_target(local)
    slurm = _subparser(places, 'slurm', 'as a job of Slurm', _SLURM)
    _add_slurm_options(slurm)
    _add_target(slurm)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start the ranks, or submit the job."""
    return _run_local(options) if options.place == 'local' else _run_slurm(options)


def _subparser(places: Any, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = places.add_parser(
        name,
        help=summary,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', metavar='CONFIG', help='config file, or a script')
    parser.add_argument('rest', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def _add_shared_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--max-restarts',
        type=int,
        default=0,
        metavar='N',
        help='how often the ranks are started again after one has failed; the run goes on from its '
        'last checkpoint (default: 0)',
    )
    parser.add_argument(
        '--script',
        action='store_true',
        help='CONFIG is a script; by default it is one if it has the line '
        "if __name__ == '__main__':",
    )


def _add_local_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--nproc',
        metavar='N|gpu',
        help='ranks on this machine (default: one for each GPU, or one)',
    )
    parser.add_argument(
        '--nnodes', default='1', metavar='N|MIN:MAX', help='number of machines (default: 1)'
    )
    parser.add_argument(
        '--node-rank',
        type=int,
        metavar='N',
        help='number of this machine, from 0 (default: SLURM_NODEID, else 0)',
    )
    parser.add_argument(
        '--rdzv',
        metavar='HOST:PORT|file:PATH',
        help='where the machines meet: an address on machine 0, or a new file that all machines '
        'see, in which machine 0 writes an address that is free',
    )
    parser.add_argument(
        '--rdzv-conf',
        metavar='KEY=VALUE,...',
        help="settings of torchrun's rendezvous, such as last_call_timeout=10: how many seconds "
        'MIN machines wait for more',
    )
    parser.add_argument(
        '--stopped-code',
        type=int,
        metavar='CODE',
        help='exit code of a run that stopped on request (default: its preempt.exit_code)',
    )
    _add_shared_options(parser)


def _add_slurm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--nodes', type=int, default=1, help='number of machines (default: 1)')
    parser.add_argument('--gpus-per-node', type=int, metavar='N', help='GPUs of each machine')
    parser.add_argument(
        '--nproc', type=int, metavar='N', help='ranks on each machine (default: --gpus-per-node)'
    )
    parser.add_argument('--time', metavar='HH:MM:SS', help='time limit')
    parser.add_argument(
        '--requeue',
        action='store_true',
        help='put the job back into the queue when its time is over, and resume the run',
    )
    parser.add_argument(
        '--signal-before',
        type=int,
        default=120,
        metavar='SECONDS',
        help='stop the run so long before the time limit (default: 120)',
    )
    parser.add_argument('--name', help='name of the job (default: the name of CONFIG)')
    parser.add_argument(
        '--job-dir',
        metavar='DIR',
        help='folder for the script and the output of the job (default: '
        'work_dirs/<name of CONFIG>/slurm)',
    )
    parser.add_argument('--dry-run', action='store_true', help='print the script only')
    _add_shared_options(parser)


def _run_local(options: argparse.Namespace) -> int:
    from mmengine.launch import launch_local

    as_script = True if options.script else None
    _check_arguments(options.config, options.rest, as_script)
    return launch_local(
        options.config,
        options.rest,
        nproc=options.nproc,
        nnodes=options.nnodes,
        node_rank=options.node_rank,
        rdzv=options.rdzv,
        rdzv_conf=options.rdzv_conf,
        max_restarts=options.max_restarts,
        as_script=as_script,
        stopped_code=options.stopped_code,
    )


def _run_slurm(options: argparse.Namespace) -> int:
    from mmengine.launch import SlurmJob, slurm_script, submit

    words, for_sbatch = _split(options.rest)
    # Options of this command may follow CONFIG too.
    parser = argparse.ArgumentParser(
        prog='mmengine launch slurm', add_help=False, allow_abbrev=False
    )
    _add_slurm_options(parser)
    parser.add_argument('--traceback', action='store_true')
    options, arguments = parser.parse_known_args(words, options)
    as_script = True if options.script else None
    _check_arguments(options.config, arguments, as_script)
    job = SlurmJob(
        options.config,
        arguments,
        nodes=options.nodes,
        gpus_per_node=options.gpus_per_node,
        nproc=options.nproc,
        time=options.time,
        requeue=options.requeue,
        signal_before_s=options.signal_before,
        max_restarts=options.max_restarts,
        name=options.name,
        job_dir=options.job_dir,
        options=for_sbatch,
        as_script=as_script,
    )
    if options.dry_run:
        print(slurm_script(job), end='')
        return 0
    number, path = submit(job)
    print(f'Submitted job {number}: {path}\nIts output is in {job.own_dir}.')
    return 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before the first ``--``, and those after it."""
    if '--' not in words:
        return words, []
    at = words.index('--')
    return words[:at], words[at + 1 :]


def _check_arguments(target: str, arguments: list[str], as_script: bool | None) -> None:
    """Refuse what ``mmengine train`` would refuse, once and before ranks start.

    Raises:
        ArgumentError: If it has no such option.
    """
    from mmengine.cli.__main__ import build_parser
    from mmengine.launch._target import is_script
    from mmengine.utils.errors import ArgumentError

    if is_script(target, as_script):
        return
    words = ['train', target, *arguments]
    unknown = build_parser(['train']).parse_known_args(words)[1]
    if unknown:
        raise ArgumentError(
            f'mmengine train has no option {" ".join(unknown)}. Options of mmengine launch local '
            'come before CONFIG.'
        )
