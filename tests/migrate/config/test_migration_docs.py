"""What the pages show of the config migration is what it does."""

import re
from pathlib import Path

import pytest

from mmengine.migrate._config.migrate import migrate_configs
from mmengine.migrate._config.report.page import written_report
from mmengine.migrate._config.rules import apply_rule, build_metric, load_rules

ROOT = Path(__file__).parents[3]
START = (ROOT / 'docs/start/from_mmcv.md').read_text(encoding='utf-8')
GUIDE = (ROOT / 'docs/migration.md').read_text(encoding='utf-8')
LEGACY, CONVERTED = re.findall(
    r'```py\n(.*?)```', START.partition('## The config, converted')[2], re.S
)
PICTURE = (ROOT / 'docs/images/schedule.svg').read_text(encoding='utf-8')


@pytest.fixture
def report(tmp_path):
    (tmp_path / 'lenet.py').write_text(LEGACY)
    return migrate_configs(tmp_path / 'lenet.py', tmp_path / 'new' / 'lenet.py', check=True)


def test_the_right_block_is_what_the_left_one_becomes(report, tmp_path):
    assert (tmp_path / 'new' / 'lenet.py').read_text() == CONVERTED
    assert report.is_complete


def test_the_picture_is_the_reports_own(report):
    def curves(svg):
        return re.findall(r'<polyline class="(?:old|new)" points="[^"]*"', svg)

    drawn = written_report(report, Path('schedule.svg'))
    assert len(curves(drawn)) == 2
    assert curves(drawn) == curves(PICTURE)
    assert 'equal within 2e-14' in START
    (check,) = next(iter(report.checks.values()))
    assert check.largest < 2e-14


@pytest.fixture
def rules(tmp_path):
    (text,) = re.findall(r'```py\n(.*?)```', GUIDE, re.S)
    (tmp_path / 'mine.py').write_text(text)
    return load_rules(['mmdet', str(tmp_path / 'mine.py')])


def test_the_guides_rules_do_what_their_comments_say(rules):
    jitter = dict(type='CellJitter', ratio=0.5, mean=3.0, debug=True)
    assert apply_rule(rules.transforms['CellJitter'], jitter) == dict(
        type='RandomCellJitter', prob=0.5, noise=dict(mean=3.0), seed=0
    )
    assert apply_rule(rules.transforms['CellsToTensor'], dict(type='CellsToTensor')) is None
    assert apply_rule(rules.transforms['CollectCells'], dict(type='CollectCells')) == dict(
        type='PackCells'
    )
    crop = apply_rule(rules.transforms['CellCrop'], dict(type='CellCrop'), dict(image_size=64))
    assert crop == dict(type='CellCrop', size=64)


def test_the_guides_metric_takes_its_arguments_from_evaluation_and_dataset(rules):
    metric = build_metric(
        rules.metrics['CellDataset'], dict(interval=1, metric='F1'), dict(ann_file='a.json')
    )
    assert metric == dict(type='CellMetric', metric='F1', ann_file='a.json')
