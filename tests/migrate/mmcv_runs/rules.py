"""What became of the names of these cases: a vocabulary for ``mmengine migrate config --rules``."""

datasets = {'Points': {}}
metrics = {
    'Points': {
        'build': lambda evaluation, dataset: {'type': 'PointsMetric'},
        'names': {'acc': 'acc', 'loss_abs': 'loss_abs'},
        'takes': [],
    }
}
