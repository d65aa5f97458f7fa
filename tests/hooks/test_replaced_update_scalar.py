"""A message hub whose ``update_scalar`` a user has overridden or replaced."""

from collections import Counter
from typing import Any

from mmengine.logging import MessageHub

# One value in each of 8 steps.
_IN_EACH_STEP = {'train/loss': 8, 'train/lr': 8, 'train/time': 8, 'train/data_time': 8}


def _counting(seen: Counter[str], original: Any) -> Any:
    def update_scalar(*args: Any, **kwargs: Any) -> None:
        seen[args[-2]] += 1  # (self,) key, value
        original(*args, **kwargs)

    return update_scalar


def _of_each_step(seen: Counter[str]) -> dict[str, int]:
    return {key: number for key, number in seen.items() if key in _IN_EACH_STEP}


def test_a_replacement_in_the_instance_gets_each_value(make_run, monkeypatch):
    seen: Counter[str] = Counter()
    runner = make_run()
    hub = runner.message_hub
    monkeypatch.setattr(hub, 'update_scalar', _counting(seen, hub.update_scalar))
    runner.train()
    assert _of_each_step(seen) == _IN_EACH_STEP
    assert len(hub.get_scalar('train/time').data[0]) == 8


def test_a_replacement_in_the_class_gets_each_value(make_run, monkeypatch):
    seen: Counter[str] = Counter()
    monkeypatch.setattr(MessageHub, 'update_scalar', _counting(seen, MessageHub.update_scalar))
    make_run().train()
    assert _of_each_step(seen) == _IN_EACH_STEP


def test_an_override_in_a_subclass_gets_each_value(make_run):
    seen: Counter[str] = Counter()

    class Counting(MessageHub):
        def update_scalar(self, key: str, value: Any, *args: Any, **kwargs: Any) -> None:
            seen[key] += 1
            super().update_scalar(key, value, *args, **kwargs)

    runner = make_run()
    runner.message_hub.__class__ = Counting
    runner.train()
    assert _of_each_step(seen) == _IN_EACH_STEP
