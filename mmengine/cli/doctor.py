"""``mmengine doctor``: looks for what keeps this machine from training, or makes it slow."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmengine.cli.options import add_config, load_run_config, new_parser, warn_of_new_keys

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

SOMETHING_FAILED = 1
# As mmengine.doctor has them, whose import takes torch.
_AREAS = ('software', 'devices', 'collectives', 'disk', 'limits', 'data')
_EXAMPLES = """\
  mmengine doctor
  mmengine doctor config.py                          also the speed of its data
  mmengine doctor --work-dir /data/runs --json
  mmengine doctor config.py --only data --cfg-options train_dataloader.num_workers=4
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'doctor',
        'find what keeps this machine from training, or makes it slow',
        'Check versions, a matrix product on each device, a sum over two processes, the disk of\n'
        'the work dir and limits of the system. With CONFIG, also measure its data: the slowest\n'
        'stage, and the samples a second by number of workers. Exit code 1: a check failed.',
        _EXAMPLES,
    )
    add_config(parser, is_needed=False)
    parser.add_argument('--work-dir', metavar='DIR', help="default: the config's, else work_dirs")
    parser.add_argument(
        '--only', action='append', choices=_AREAS, help='look at this alone; can be repeated'
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run, launcher=None, local_rank=0)


def run(options: argparse.Namespace) -> int:
    """Print the findings; the exit code is 1 if a check failed."""
    import json

    from rich.console import Console

    from mmengine.doctor import doctor
    from mmengine.doctor._finding import FAIL
    from mmengine.doctor._text import print_findings

    cfg = None
    if options.config is not None:
        cfg = load_run_config(options)
        warn_of_new_keys(options)
    console = Console()
    with Console(stderr=True).status('looking at software') as status:
        findings = doctor(
            cfg,
            options.work_dir,
            only=options.only,
            tell=lambda area: status.update(f'looking at {area}'),
        )
    if options.json:
        print(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        print_findings(findings, console)
    return SOMETHING_FAILED if any(one.status == FAIL for one in findings) else 0
