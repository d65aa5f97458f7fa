"""Projects that are laid out otherwise: scripts without functions, policies with near names, and
runs that start from a file in several ways."""

import pytest

pytest.importorskip('libcst')
from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.migrate._code import convert
from mmengine.migrate._project.migrate import migrate_project

SCORE = """\
import sys

import torch
from mmcv import Config
from mmcv.runner import load_checkpoint

cfg = Config.fromfile('a.py')
net = torch.nn.Linear(1, 1)
data = [1, 2]
load_checkpoint(net, 'a.pth')
net.eval()
"""
POLICY = """\
from mmcv.runner import HOOKS, LrUpdaterHook


@HOOKS.register_module()
class StepsLrUpdaterHook(LrUpdaterHook):
    def __init__(self, at, **kwargs):
        self.at = at
        super().__init__(**kwargs)

    def get_lr(self, runner, base_lr):
        return base_lr * 0.5 ** sum(runner.epoch >= one for one in self.at)
"""
CONFIG = """\
optimizer = dict(type='SGD', lr=0.1)
optimizer_config = dict()
lr_config = dict(policy='Steps', at=[1, 3])
total_epochs = 4
"""


def project(folder, **files):
    source = folder / 'source'
    for name, text in files.items():
        path = source / f'{name.replace("__", "/")}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return source


@pytest.mark.parametrize('text', [SCORE, "import sys\n\ndata = dict(a=sys.argv[1])\n"],
                         ids=['calls', 'command line'])  # fmt: skip
def test_a_script_without_functions_is_code(tmp_path, text):
    source = project(tmp_path, jobs__score=text, settings__a=CONFIG.replace('Steps', 'step'))
    migration = migrate_project(source, tmp_path / 'target')
    assert [one.path.name for one in migration.code] == ['score.py']
    assert 'from mmcv import' not in (tmp_path / 'target' / 'jobs' / 'score.py').read_text()
    assert main(['migrate', 'config', str(source / 'jobs'), '-o', str(tmp_path / 'no')]) == 2


@pytest.mark.parametrize(
    'text',
    [
        'import os\nimport numpy as np\n\ndata = dict(mean=float(np.mean([1, 2])))\n',
        "import torch\n\ndata = dict(n=2)\ndata.update(k=1)\nmodel = dict(type='A')\n",
    ],
    ids=['numbers', 'changes'],
)
def test_a_config_that_imports_is_a_config(tmp_path, text):
    source = project(tmp_path, a=text + CONFIG.replace('Steps', 'fixed').replace(', at=[1, 3]', ''))
    assert main(['migrate', 'config', str(source), '-o', str(tmp_path / 'new')]) in (0, 1)
    assert Config.fromfile(tmp_path / 'new' / 'a.py').optim_wrapper.optimizer.lr == 0.1


def test_a_policy_of_the_project_may_be_called_much_like_one_of_mmcv(tmp_path):
    source = project(tmp_path, code__hooks=POLICY, settings__a=CONFIG)
    migrate_project(source, tmp_path / 'target')
    new = Config.fromfile(tmp_path / 'target' / 'settings' / 'a.py')
    (hook,) = new.custom_hooks
    assert (hook.type, hook['at']) == ('StepsLrUpdaterHook', [1, 3])


def test_without_its_class_it_is_a_slip(tmp_path, capsys):
    source = project(tmp_path, a=CONFIG)
    assert main(['migrate', 'config', str(source), '-o', str(tmp_path / 'new')]) == 2
    assert "Did you mean 'Step'" in capsys.readouterr().out


SCRIPT = """\
from mmcv import Config
from mmcv.runner import EpochBasedRunner

cfg = Config.fromfile('a.py')
runner = EpochBasedRunner(make(), optimizer=opt(), work_dir='w', max_epochs=2)
runner.register_training_hooks(cfg.lr_config, cfg.optimizer_config)
{start}
runner.run([loader], [('train', 1)])
"""


@pytest.mark.parametrize(
    ('start', 'arguments'),
    [
        ('if cfg.resume_from:\n    runner.resume(cfg.resume_from)\n'
         'elif cfg.load_from:\n    runner.load_checkpoint(cfg.load_from)',
         ["load_from=cfg.get('load_from')", "resume=cfg.get('resume', False)"]),
        ('if cfg.load_from:\n    runner.load_checkpoint(cfg.load_from)',
         ["load_from=None if cfg.get('resume', False) else cfg.get('load_from')"]),
        ("if cfg.get('load_from') is not None:\n    runner.load_checkpoint(cfg.get('load_from'))",
         ["load_from=None if cfg.get('resume', False) else cfg.get('load_from')"]),
        ('if cfg.resume_from is not None:\n    runner.resume(cfg.resume_from)',
         ["load_from=cfg.get('load_from') if cfg.get('resume', False) else None",
          "resume=cfg.get('resume', False)"]),
        ('if args.resume:\n    runner.resume(args.resume)\n'
         'elif args.weights:\n    runner.load_checkpoint(args.weights)',
         ['load_from=args.resume or args.weights', 'resume=bool(args.resume)']),
        ('if args.weights:\n    runner.load_checkpoint(args.weights)', ['load_from=args.weights']),
        ('if args.resume_from:\n    runner.resume(args.resume_from)',
         ['load_from=args.resume_from', 'resume=bool(args.resume_from)']),
    ],
    ids=['usual', 'load', 'get', 'resume', 'options', 'weights', 'option by that name'],
)  # fmt: skip
def test_where_a_run_starts_is_told_to_runner(start, arguments):
    new = convert.convert_source(SCRIPT.format(start=start)).new
    assert 'runner.train()' in new
    for argument in arguments:
        assert f'    {argument},\n' in new
    assert 'load_checkpoint' not in new
    assert 'used before its run()' not in new


@pytest.mark.parametrize(
    'start',
    [
        'if cfg.load_from:\n    runner.load_checkpoint(args.other)',
        'if cfg.load_from:\n    runner.load_checkpoint(cfg.load_from, strict=True)',
        'if cfg.resume_from:\n    runner.resume(cfg.resume_from)\nelse:\n    runner.logger.info(1)',
        'if cfg.resume_from:\n    runner.resume(cfg.resume_from)\n'
        'elif args.weights:\n    runner.load_checkpoint(args.weights)',
    ],
    ids=['another', 'strict', 'else', 'mixed'],
)
def test_where_a_run_starts_otherwise_is_marked(start):
    conversion = convert.convert_source(SCRIPT.format(start=start))
    assert any('used before its run()' in why for _, why in conversion.todo)
