"""What subclasses of schedules in projects read and override.

Values of the API are recorded from MMEngine 0.10.7 or worked out by hand.
"""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR, ReduceOnPlateauLR, StepLR


def optimizer(lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=lr)


def values(schedule: Any, num_steps: int) -> list[float]:
    found = []
    for _ in range(num_steps):
        found.append(schedule.optimizer.param_groups[0]['lr'])
        schedule.optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ('arguments', 'eta_min', 'ratio'),
    [({}, 0.0, None), ({'eta_min': 0.01}, 0.01, None), ({'eta_min_ratio': 0.1}, None, 0.1)],
)
def test_the_lowest_value_of_a_cosine(arguments: Any, eta_min: Any, ratio: Any) -> None:
    schedule = CosineAnnealingLR(optimizer(), T_max=4, **arguments)
    assert (schedule.eta_min, schedule.eta_min_ratio) == (eta_min, ratio)


def test_milestones_count_how_often_each_is_given() -> None:
    schedule = MultiStepLR(optimizer(), milestones=[5, 2, 2])
    assert schedule.milestones == Counter({2: 2, 5: 1})
    assert schedule.milestones[9] == 0
    assert sorted(schedule.milestones.elements()) == [2, 2, 5]


def test_milestones_in_any_order_act_in_the_order_of_steps() -> None:
    given = values(MultiStepLR(optimizer(), milestones=[3, 1], gamma=0.5), 5)
    assert given == [0.1, 0.05, 0.05, 0.025, 0.025]


def test_milestones_are_a_plain_dict_in_a_checkpoint_and_count_again_after_it() -> None:
    schedule = MultiStepLR(optimizer(), milestones=[2, 2])
    state = schedule.state_dict()
    assert type(state['milestones']) is dict
    schedule.load_state_dict(state)
    assert schedule.milestones[7] == 0


def test_a_line_from_zero_rises_to_the_base_value() -> None:
    # 0, 1/4, 2/4, 3/4 and 4/4 of 0.1.
    given = values(LinearLR(optimizer(), start_factor=0, end=5), 6)
    assert given == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1, 0.1])


def test_is_better_is_called_with_the_value_and_the_best() -> None:
    seen = []

    class Own(ReduceOnPlateauLR):
        def _is_better(self, a: float, best: float) -> bool:
            seen.append((a, best))
            return a == 2

    schedule = Own(optimizer(), monitor='a', factor=0.5, patience=0)
    for value in (2, 5):
        schedule.step({'a': value})
    assert seen == [(2.0, float('inf')), (5.0, 2.0)]
    assert schedule.get_last_value() == [0.05]


def test_an_overridden_print_value_is_called_after_each_step() -> None:
    # Recorded from MMEngine 0.10.7: the constructor's step prints as well.
    printed = []

    class Own(StepLR):
        def print_value(self, is_verbose: bool, group: int, value: float) -> None:
            printed.append((is_verbose, group, value))

    schedule = Own(optimizer(), step_size=1, gamma=0.5)
    schedule.step()
    assert printed == [(False, 0, 0.1), (False, 0, 0.05)]
