"""Whether a metric is better greater or smaller."""

import pytest

from mmengine.hooks._best import infer_rule


@pytest.mark.parametrize(
    'metric',
    [
        'acc', 'val/acc', 'accuracy/top1', 'top1', 'loss_acc', 'coco/bbox_mAP_50', 'mIoU',
        'AR@100', 'AUC', 'xauc', 'Precision', 'accloss', 'loss/acc', 'ACC', 'mDice', 'aAcc',
    ],
)  # fmt: skip
def test_names_that_are_better_greater(metric):
    assert infer_rule(metric) == 'greater'


@pytest.mark.parametrize('metric', ['loss', 'Loss', 'foo/loss_cls', 'val_loss', 'top/loss'])
def test_names_that_are_better_smaller(metric):
    assert infer_rule(metric) == 'less'


@pytest.mark.parametrize('metric', ['PSNR', 'AR', 'rmse'])
def test_names_that_tell_nothing_ask_for_a_rule(metric):
    with pytest.raises(ValueError, match="rule='greater' or rule='less'"):
        infer_rule(metric)


def test_given_keys_come_before_the_usual_ones():
    assert infer_rule('PSNR', greater_keys=['psnr']) == 'greater'
    assert infer_rule('acc', less_keys=['acc']) == 'less'
    assert infer_rule('mean_rmse', less_keys=['rmse']) == 'less'
