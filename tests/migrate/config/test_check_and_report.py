"""What ``--check`` compares, and how it is told and shown."""

import re
import xml.etree.ElementTree as ET

import pytest

from mmengine.cli.__main__ import main
from mmengine.migrate._config.convert import convert_config
from mmengine.migrate._config.migrate import migrate_configs
from mmengine.migrate._config.report.check import ASSUMED_EPOCH_LENGTHS, TOLERANCE, check_schedules
from mmengine.migrate._config.report.page import html_report, written_report
from mmengine.migrate._config.schedules.conversion import Length

STEP = dict(policy='step', step=[2, 3], warmup='linear', warmup_iters=3, warmup_ratio=0.1)
CONFIG = """\
optimizer = dict(type='SGD', lr=0.1)
lr_config = dict(policy='step', step=[2, 3], warmup='linear', warmup_iters=3, warmup_ratio=0.1)
total_epochs = 4
"""


def checked(schedule, iters_per_epoch=None, runner=None, change=None):
    runner = runner or dict(type='EpochBasedRunner', max_epochs=4)
    legacy = dict(runner=runner, lr_config=schedule)
    converted = convert_config(legacy, iters_per_epoch=iters_per_epoch)
    config = dict(converted.config)
    if change is not None:
        config['param_scheduler'] = change(config['param_scheduler'])
    (check,) = check_schedules(legacy, config, converted.length)
    return check


def test_without_a_told_length_several_epoch_lengths_are_tried():
    check = checked(STEP)
    assert check.passed
    assert check.was_assumed
    assert check.epoch_lengths == ASSUMED_EPOCH_LENGTHS
    assert len(check.comparison.legacy) == 4 * ASSUMED_EPOCH_LENGTHS[-1]


def test_a_told_length_is_the_one_that_is_checked():
    check = checked(STEP, iters_per_epoch=5)
    assert (check.epoch_lengths, check.was_assumed) == ((5,), False)
    assert len(check.comparison.legacy) == 20


def test_an_iteration_run_needs_no_epochs():
    runner = dict(type='IterBasedRunner', max_iters=30)
    check = checked({**STEP, 'step': [10, 20]}, runner=runner)
    assert (check.epoch_lengths, check.was_assumed) == ((), False)
    assert len(check.comparison.legacy) == 30


@pytest.mark.parametrize('right_at', [1, 250])
def test_a_conversion_that_holds_for_one_epoch_length_alone_does_not_pass(right_at):
    # In iterations, milestones are right for epochs of one length only.
    def in_iterations(schedulers):
        step = dict(schedulers[-1], by_epoch=False)
        step['milestones'] = [right_at * one for one in step['milestones']]
        return [*schedulers[:-1], step]

    check = checked(STEP, change=in_iterations)
    assert not check.passed
    assert check.largest > TOLERANCE
    assert check.comparison.largest == check.largest


def test_epochs_too_short_for_the_policy_are_left_out():
    # Five cycles in four iterations: MMCV divides by 0 there, so nothing is to be equal.
    check = checked(dict(policy='cyclic', cyclic_times=5, target_ratio=(10, 1e-4)))
    assert (check.passed, check.epoch_lengths) == (True, (7, 250))


def test_a_schedule_that_ends_before_the_run_does_not_pass():
    check = checked(dict(policy='CosineRestart', periods=[1], restart_weights=[1], min_lr=0))
    assert not check.passed
    assert 'MMCV stopped here' in check.reason


def test_a_run_of_endless_length_is_not_gone_through():
    check = checked(STEP, runner=dict(type='IterBasedRunner', max_iters=10**30))
    assert not check.passed
    assert 'too many' in check.reason
    # Of an epoch run, short epochs still are.
    long_run = dict(type='EpochBasedRunner', max_epochs=20_000)
    assert checked(dict(policy='fixed'), runner=long_run).epoch_lengths == (1, 7)


def test_what_was_not_compared_makes_the_exit_code_1(tmp_path, capsys):
    text = CONFIG.replace("policy='step', step=[2, 3]", "policy='Reduce'")
    (tmp_path / 'a.py').write_text(text)
    assert main(['migrate', 'config', str(tmp_path / 'a.py'), '--check']) == 1
    assert 'NOT COMPARED: it follows the training loss' in capsys.readouterr().out


def test_the_output_says_which_epoch_lengths_were_tried(tmp_path, capsys):
    (tmp_path / 'a.py').write_text(CONFIG)
    assert main(['migrate', 'config', str(tmp_path / 'a.py'), '--check']) == 0
    out = capsys.readouterr().out
    assert 'over 1,000 iterations in epochs of 1, 7 and 250' in out
    assert 'Configs do not tell how many iterations an epoch has' in out
    assert main(
        ['migrate', 'config', str(tmp_path / 'a.py'), '--check', '--iters-per-epoch', '6']
    ) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert 'over 24 iterations in epochs of 6' in out
    assert 'do not tell' not in out


@pytest.fixture
def report(tmp_path):
    tree = tmp_path / 'old'
    tree.mkdir()
    for name in ('a.py', 'b.py'):
        (tree / name).write_text(CONFIG)
    (tree / 'c.py').write_text(
        CONFIG.replace('[2, 3]', '[1]') + 'custom_hooks = [dict(type="<b>")]'
    )
    (tree / 'broken.py').write_text('x = (')
    return migrate_configs(tree, tmp_path / 'new', check=True)


def test_the_page_shows_equal_schedules_once_and_stands_alone(report):
    page = html_report(report)
    assert page.count('<figure>') == 2
    assert 'and 1 more with the same curve' in page
    links = re.findall(r'(?:src|href)=|url\(|@import', page)
    assert links == []
    assert set(re.findall(r'https?://[^"]+', page)) == {'http://www.w3.org/2000/svg'}
    assert 'prefers-color-scheme: dark' in page


def test_the_page_tells_what_is_left_and_what_failed_before_the_pictures(report):
    page = html_report(report)
    order = ['Not converted (1)', 'broken.py', 'Left to do (1)', 'c.py:4', '<figure>', 'Files']
    places = [page.index(words) for words in order]
    assert places == sorted(places)
    assert '&lt;b&gt; is in no rule' in page
    assert '<b> is in no rule' not in page


def test_the_page_shows_what_changed_in_each_file(report):
    page = html_report(report)
    assert '<del>-optimizer = dict(type=&#x27;SGD&#x27;, lr=0.1)</del>' in page
    assert '<ins>+train_cfg = dict(by_epoch=True, max_epochs=4)</ins>' in page


def test_a_report_named_svg_is_the_first_picture(report, tmp_path):
    svg = written_report(report, tmp_path / 'curve.svg')
    root = ET.fromstring(svg)
    lines = [one for one in root.iter() if one.tag.endswith('polyline')]
    assert [one.get('class') for one in lines] == ['old', 'new', 'apart']
    first = [float(n) for n in lines[0].get('points').split()[0].split(',')]
    last = [float(n) for n in lines[0].get('points').split()[-1].split(',')]
    # From the left edge to the right one; the rate ends at a hundredth of the top.
    assert (first[0], last[0]) == (64.0, 700.0)
    assert last[1] == pytest.approx(234 - 0.01 * 190, abs=0.1)


def test_a_report_without_schedules_has_no_picture(tmp_path):
    (tmp_path / 'a.py').write_text('total_epochs = 3\n')
    report = migrate_configs(tmp_path / 'a.py', tmp_path / 'new.py', check=True)
    assert '<figure>' not in html_report(report)
    assert ET.fromstring(written_report(report, tmp_path / 'x.svg')) is not None


def test_the_length_of_a_run_is_no_guess():
    assert Length(True, 4).run(7).max_iters == 28
    assert Length(True, 4, 5).run(7).max_iters == 20
