"""Record what legacy code does under MMCV 1.7.2, as the fixtures of these tests.

Not a test: ``mmcv_runs.record`` and ``mmcv_runs.check`` start it, with the file to write. MMCV is
driven from outside.
"""

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import types
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / 'project')]
import record_projects  # noqa: E402
from mmcv_runs import under_mmcv  # noqa: E402  # found by the line above
from mmcv_runs.fixtures import write  # noqa: E402
from random_projects import NUM_IN_SUITE as NUM_PROJECTS  # noqa: E402
from random_scripts import NUM_IN_SUITE  # noqa: E402

MAX_EPOCHS = 3
WHOLE_SCRIPTS = ('by_config', 'by_options', 'by_class')


def new_runner(model, optimizer, work_dir):
    from mmcv.runner import EpochBasedRunner

    return EpochBasedRunner(
        model,
        optimizer=optimizer,
        logger=under_mmcv.quiet_logger(),
        work_dir=work_dir,
        max_epochs=MAX_EPOCHS,
        # Hooks of half precision look into it.
        meta=dict(),
    )


def parameters_of(model):
    return [parameter.item() for parameter in model.parameters()]


def record_names():
    """Names of the parts of MMCV 1.x that no later one has, modules left out."""
    parts = ('runner', 'parallel', 'engine', 'utils', 'fileio', 'device')
    found = {}
    for part in parts:
        package = importlib.import_module(f'mmcv.{part}')
        found[part] = [
            name
            for name in sorted(vars(package))
            if not name.startswith('__')
            and not isinstance(getattr(package, name), types.ModuleType)
        ]
    return found


def record_hooks(work_dir):
    import legacy_hooks
    from legacy_toy import Line, loader, sgd
    from mmcv.runner import Hook

    logged = []

    class Averages(Hook):
        def after_train_iter(self, runner):
            runner.log_buffer.average(2)
            output = runner.log_buffer.output
            logged.append([output['twice'], output.get('latest')])
            runner.log_buffer.clear_output()

    model = Line()
    runner = new_runner(model, sgd(model), work_dir)
    runner.register_training_hooks(None, optimizer_config=dict(grad_clip=None))
    for kind, options, priority in legacy_hooks.HOOKS_TO_REGISTER:
        runner.register_hook(kind(**options), **({'priority': priority} if priority else {}))
    runner.register_hook(Averages(), priority='LOWEST')
    runner.run([loader()], [('train', 1)])
    return dict(seen=legacy_hooks.SEEN, parameters=parameters_of(model), logged=logged)


def record_optimizer_hook(name, work_dir):
    import legacy_optimizer_hooks
    from legacy_toy import Line, loader, sgd

    kind, options = legacy_optimizer_hooks.CASES[name]
    model = Line()
    runner = new_runner(model, sgd(model), work_dir)
    runner.register_hook(kind(**options), priority='ABOVE_NORMAL')
    runner.run([loader()], [('train', 1)])
    return dict(parameters=parameters_of(model))


def record_script(case, work_dir):
    return dict(parameters=parameters_of(case(work_dir)))


def record_whole_script(name, work_dir):
    """A script of ``scripts/``, with its command line and the files that it leaves."""
    sys.path.insert(0, str(HERE / 'scripts'))
    module = importlib.import_module(name)
    words = [str(HERE / 'scripts' / 'config.py')] if name == 'by_config' else []
    folder = Path(work_dir, name)
    outcome = module.main([*words, '--work-dir', str(folder)])
    files = sorted(path.name for path in folder.glob('*.pth') if not path.is_symlink())
    return dict(outcome, files=files)


def record_drawn_script(seed, work_dir):
    """A script drawn at random: its numbers and files, or MMCV's refusal."""
    import random_scripts

    sys.path.insert(0, str(HERE / 'scripts'))
    space = {'__name__': f'drawn_{seed}'}
    folder = Path(work_dir, f'drawn_{seed}')
    try:
        exec(random_scripts.script(seed), space)
        outcome = space['main'](['--work-dir', str(folder)])
    except Exception as error:
        return dict(error=type(error).__name__)
    files = sorted(path.name for path in folder.glob('*.pth') if not path.is_symlink())
    return dict(outcome, files=files)


def record_drawn(target, seeds):
    """Record scripts drawn at random, for more of them than the fixtures hold."""
    under_mmcv.prepare()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write(target, {f'drawn/{seed}': record_drawn_script(seed, folder) for seed in seeds})


def record_project(work_dir):
    """The whole project: its training script, then its test script."""
    sys.path[:0] = [str(HERE / 'project'), str(HERE / 'project' / 'tools')]
    os.chdir(HERE / 'project')
    import train

    model = train.main(['configs/line.py', '--work-dir', work_dir])
    spec = importlib.util.spec_from_file_location('test_line', 'tools/test.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = str(Path(work_dir, 'out.json'))
    module.main(['configs/line.py', str(Path(work_dir, 'epoch_3.pth')), '--out', out])
    return dict(
        parameters=parameters_of(model),
        notes=json.loads(Path(work_dir, 'notes.json').read_text()),
        predictions=json.loads(Path(out).read_text()),
    )


def main(target):
    # Before the project's scripts are run from their own folder.
    target = Path(target).resolve()
    under_mmcv.prepare()
    torch.set_num_threads(1)
    import legacy_optimizer_hooks
    import legacy_script

    recorded = {'names': record_names()}
    with tempfile.TemporaryDirectory() as folder:
        # First, as their classes have names that others register too.
        for seed in range(NUM_PROJECTS):
            recorded[f'drawn-project/{seed}'] = record_projects.recorded(seed, folder)
        recorded['hooks'] = record_hooks(folder)
        for name in legacy_optimizer_hooks.CASES:
            recorded[f'optimizer/{name}'] = record_optimizer_hook(name, folder)
        for case in legacy_script.CASES:
            recorded[f'script/{case.__name__}'] = record_script(case, folder)
        for name in WHOLE_SCRIPTS:
            recorded[f'whole/{name}'] = record_whole_script(name, folder)
        for seed in range(NUM_IN_SUITE):
            recorded[f'drawn/{seed}'] = record_drawn_script(seed, folder)
        recorded['project'] = record_project(folder)
    write(target, recorded)


if __name__ == '__main__':
    if len(sys.argv) == 4:
        record_drawn(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])))
    else:
        main(sys.argv[1])
