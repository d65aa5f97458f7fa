"""What there is to tell of a training, told alike for both engines."""

from pathlib import Path


class Watch:
    """Notes what happens while a training runs.

    Attributes:
        lr, momentum: The values that each iteration is trained with: numbers, or lists of them
            where there are several groups or optimizers.
        scales: The loss scale after each iteration.
        steps: How often an optimizer stepped.
        evaluated: How many iterations were done at each validation.
        scores: What each of them gave.
    """

    def __init__(self):
        self.lr, self.momentum, self.scales = [], [], []
        self.evaluated, self.scores = [], []
        self.steps = 0

    def follow(self, optimizers):
        """Count the steps of the torch optimizers by name."""
        self._optimizers = list(optimizers.values())
        for optimizer in self._optimizers:
            optimizer.register_step_post_hook(self._count_step)

    def _count_step(self, *_):
        self.steps += 1

    def begin_iteration(self):
        groups = [group for one in self._optimizers for group in one.param_groups]
        self.lr.append(_one_or_all([group['lr'] for group in groups]))
        self.momentum.append(_one_or_all([_momentum(group) for group in groups]))

    def evaluation(self, scores):
        self.evaluated.append(len(self.lr))
        self.scores.append({name: scores[name] for name in sorted(scores)})

    def outcome(self, work_dir, parameters, **more):
        """Everything, as JSON can hold it; what the run did not have is left out."""
        outcome = dict(
            iterations=len(self.lr),
            lr=_shortened(self.lr),
            momentum=_shortened(self.momentum),
            steps=self.steps,
            parameters=parameters,
            scales=_shortened(self.scales),
            evaluated=self.evaluated,
            scores=self.scores,
            files=checkpoints(work_dir),
            **more,
        )
        return {key: value for key, value in outcome.items() if value not in ([], {}, None)}


def checkpoints(work_dir):
    """Names of the checkpoints in a folder and below it; links left out."""
    paths = Path(work_dir).rglob('*.pth')
    return sorted(str(path.relative_to(work_dir)) for path in paths if not path.is_symlink())


def numbers(state_dict):
    """The weights as JSON can hold them."""
    return {name: tensor.item() for name, tensor in state_dict.items()}


def _momentum(group):
    return group['momentum'] if 'momentum' in group else group['betas'][0]


def _one_or_all(values):
    return values[0] if len(set(values)) == 1 else values


def _shortened(values):
    """A constant as itself."""
    return values[:1] if values and all(value == values[0] for value in values) else values
