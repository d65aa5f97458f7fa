"""From MMCV 1.x to this engine: configs, code, checkpoints and running models."""
