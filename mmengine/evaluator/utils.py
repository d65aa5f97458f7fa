"""Finding a value in the results of an evaluation."""

from collections.abc import Mapping
from typing import Any

from mmengine.utils.errors import ArgumentError, did_you_mean


def get_metric_value(indicator: str, metrics: Mapping[str, Any]) -> Any:
    """The value of the metric that ``indicator`` names.

    Args:
        indicator: A full name (``'coco/bbox_mAP'``), or one without its prefix (``'bbox_mAP'``) if
            only one metric ends so.
        metrics: Values by full name.

    Raises:
        ArgumentError: If no metric or more than one has the name.

    Example:
        >>> get_metric_value('accuracy', {'toy/accuracy': 0.5, 'toy/n': 2})
        0.5
    """
    if '/' in indicator:
        matches = [name for name in metrics if name == indicator]
    else:
        matches = [name for name in metrics if name.rpartition('/')[2] == indicator]
    if len(matches) == 1:
        return metrics[matches[0]]
    if matches:
        raise ArgumentError(
            f'{indicator!r} could mean any of the metrics {sorted(matches)}; give the full name.'
        )
    known = [*metrics, *(name.rpartition('/')[2] for name in metrics)]
    raise ArgumentError(
        f'No metric is named {indicator!r}; there are {sorted(metrics)}.'
        + did_you_mean(indicator, known)
    )
