"""Learning rates and momenta of MMCV 1.x, as mathematics."""
