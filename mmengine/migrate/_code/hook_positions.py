"""The arguments of MMCV's optimizer hooks by position."""

from __future__ import annotations

POSITIONS: dict[str, tuple[str, ...]] = {
    'OptimizerHook': ('grad_clip', 'detect_anomalous_params'),
    'Fp16OptimizerHook': (
        'grad_clip', 'coalesce', 'bucket_size_mb', 'loss_scale', 'distributed',
    ),
    'GradientCumulativeOptimizerHook': ('cumulative_iters',),
    'GradientCumulativeFp16OptimizerHook': ('cumulative_iters',),
}  # fmt: skip
