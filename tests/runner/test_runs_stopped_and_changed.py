"""Runs that are stopped in any way and go on with any change, held to a plain model of them.

``make soak`` draws anew, and more. Not drawn: custom loops, several optimizers, parts that count
steps or samples, dataloaders with a state, streams, strategies besides one device and DDP, remote
files, and failures of one rank alone.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from stopped_runs_model import Expected, Given, PlainRuns, State, Stop
from stopped_runs_toy import Told, files_in, is_close, start

_SCHEDULES = {
    True: [None, 'warmup', 'cosine', 'milestone in iterations', 'milestone', 'converted milestone',
           'warmup, then milestone', 'epochs', 'plateau'],
    False: [None, 'warmup', 'cosine', 'milestone in iterations', 'plateau'],
}  # fmt: skip
_SAMPLERS = {
    True: ['default', 'in order', 'turns', 'batches'],
    False: ['default', 'infinite', 'infinite in order', 'turns', 'batches'],
}
_TO_THE_END = Stop()
_RARELY = st.sampled_from([0] * 15 + [1])


@st.composite
def configs(draw: st.DrawFn, ranks: st.SearchStrategy[int]) -> Given:
    """A config of a first start."""
    by_epoch = draw(st.booleans())
    given = Given(
        by_epoch=by_epoch,
        length=draw(st.integers(1, 4) if by_epoch else st.integers(1, 12)),
        sampler=draw(st.sampled_from(_SAMPLERS[by_epoch])),
        samples=draw(st.integers(3, 10)),
        batch_size=draw(st.integers(1, 4)),
        drop_last=draw(st.booleans()),
        ranks=draw(ranks),
        workers=draw(_RARELY),
        accumulation=draw(st.integers(1, 3)),
        amp=draw(st.sampled_from([None, None, 'bfloat16', 'float16'])),
        loss_scale=draw(st.sampled_from([16.0, 2.0**17])),
        clips=draw(st.booleans()),
        ema=draw(st.booleans()),
        optimizer=draw(st.sampled_from(['SGD', 'SGD', 'AdamW'])),
        schedule=draw(st.sampled_from(_SCHEDULES[by_epoch])),
        milestone=draw(st.integers(1, 5)),
        val_interval=draw(st.integers(1, 3)),
        save_interval=draw(st.integers(1, 3)),
        saves_by_epoch=draw(st.booleans()),
        max_keep=draw(st.sampled_from([-1, 1, 2])),
        keeps_best=draw(st.booleans()),
        patience=draw(st.sampled_from([None, None, 1, 2])),
    )
    return _fitting(given)


def _fitting(given: Given) -> Given:
    """``given`` without what is an error, or what is not promised."""
    if given.sampler in ('turns', 'batches'):
        given = replace(given, ranks=1)
    # Where a pass has a last batch that is smaller is not known of an order without end.
    smallest = given.samples // (1 if given.is_endless else given.ranks)
    drops = given.drop_last and given.batch_size <= smallest and given.sampler != 'batches'
    return replace(given, drop_last=drops)


_NEW_VALUES: dict[str, st.SearchStrategy[Any]] = {
    'batch_size': st.integers(1, 4),
    'samples': st.integers(3, 10),
    'longer': st.integers(1, 4),
    'shorter': st.integers(1, 4),
    'workers': _RARELY,
    'accumulation': st.integers(1, 3),
    'ema': st.booleans(),
    'lr': st.sampled_from([0.25, 0.125]),
    'momentum': st.sampled_from([0.5, 0.25]),
    'weight_decay': st.sampled_from([0.0, 0.125]),
    'schedule': st.integers(0, 8),
    'milestone': st.integers(1, 5),
    'val_interval': st.integers(1, 3),
    'save_interval': st.integers(1, 3),
    'ranks': st.sampled_from([1, 2]),
}


def changed(given: Given, name: str, value: Any) -> Given:
    """``given`` with one change that a person makes before the next start."""
    if name in ('longer', 'shorter'):
        length = given.length + (value if name == 'longer' else -value)
        return replace(given, length=max(length, 1))
    if name == 'schedule':
        choices = [each for each in _SCHEDULES[given.by_epoch] if each != 'plateau']
        if given.schedule == 'plateau':
            return given
        value = choices[value % len(choices)]
    return _fitting(replace(given, **{name: value}))


def _stops(kinds: list[str]) -> st.SearchStrategy[Stop]:
    """The stops of these kinds."""
    in_iteration = st.builds(
        Stop, st.sampled_from(kinds), st.integers(1, 8), st.sampled_from(['early', 'late'])
    )
    in_validation = st.builds(
        Stop,
        st.sampled_from([kind for kind in kinds if kind != 'stop_training']),
        st.integers(1, 3),
        st.just('val'),
    )
    at_pointer = st.builds(Stop, st.just('kill'), st.integers(1, 3), st.just('pointer'))
    return st.one_of(in_iteration, in_iteration, in_validation, at_pointer)


_STOPS = _stops(['stop_training', 'signal', 'stop file', 'exception', 'kill'])


class History:
    """One work dir: a Runner after another, and the plain runs that each is held to."""

    def __init__(self, folder: Path, really_kill: bool = False) -> None:
        self.work_dir = folder / 'run'
        self.work_dir.mkdir()
        self.plain = PlainRuns()
        self.really_kill = really_kill
        # What was drawn for each sample of each pass, and by the step of each iteration.
        self.draws: dict[tuple[int, int], int] = {}
        self.noise: dict[tuple[int, int], int] = {}
        self.given: Given | None = None
        self.starts: list[tuple[Given, Stop]] = []

    def start(self, given: Given, stop: Stop = _TO_THE_END, again: bool = False) -> Told:
        """Start the run, and compare all that it did."""
        self.starts.append((given, stop))
        expected = self.plain.start(given, stop, again)
        told = start(self.work_dir, given, stop, again, self.really_kill)
        self._check_batches(given, told, expected)
        assert told.how == expected.how
        amp = given.amp
        assert [at for at, _ in told.validations] == [at for at, _ in expected.validations]
        for (_, found), (_, error) in zip(told.validations, expected.validations, strict=True):
            assert is_close(found, error, amp)
        if told.state:
            check_state(told.state, expected.state)
            assert is_close(told.state['lr'], expected.lr, None)
        self._check_files(expected, amp)
        return told

    def _check_batches(self, given: Given, told: Told, expected: Expected) -> None:
        for of_rank in told.iterations:
            assert len(of_rank) == len(expected.batches)
        if self.given is not None and _sizes(given) != _sizes(self.given):
            self.noise.clear()
        self.given = given
        for number, batch in enumerate(expected.batches):
            of_ranks = [of_rank[number] for of_rank in told.iterations]
            for rank, line in enumerate(of_ranks):
                mine = batch[rank :: given.ranks]
                assert [index for index, _ in line['samples']] == [index for *_, index in mine]
                for (pass_, place, _), (_, draw) in zip(mine, line['samples'], strict=True):
                    assert self.draws.setdefault((pass_, place), draw) == draw
                assert self.noise.setdefault((rank, line['iter']), line['noise']) == line['noise']
                assert is_close(line['lr'], expected.lrs[number], None)
        assert len(set(self.draws.values())) == len(self.draws)

    def _check_files(self, expected: Expected, amp: str | None) -> None:
        found = files_in(self.work_dir)
        assert sorted(found) == sorted(self.plain.files)
        pointer = self.work_dir / 'last_checkpoint'
        assert pointer.exists() == (self.plain.pointer is not None)
        if self.plain.pointer is not None:
            assert Path(pointer.read_text()).name == self.plain.pointer
        for name in sorted(expected.written & set(found)):
            check_file(found[name], self.plain.files[name], amp)


def _sizes(given: Given) -> Any:
    return [getattr(given, name) for name in (
        'ranks', 'batch_size', 'samples', 'length', 'val_interval', 'workers')]  # fmt: skip


def check_state(found: dict[str, Any], state: State) -> None:
    """Hold the end of a start to the plain state."""
    amp = state.given.amp
    assert (found['epoch'], found['iter']) == (state.epoch, state.iter)
    assert found['num_steps'] == state.num_steps
    _check_numbers(found['weights'], state.weights, amp)
    assert (found['average'] is None) == (state.average is None)
    if state.average is not None:
        _check_numbers(found['average'], state.average, amp)
    scale = None if state.scaler is None else state.scaler.get_scale()
    assert found['loss_scale'] == scale
    inner = state.optimizer.state_dict()['state']
    for of_param, (_, plain) in zip(found['optimizer'], sorted(inner.items()), strict=True):
        for name, value in plain.items():
            if value is not None:
                _check_numbers(_flat(of_param[name]), [value], amp)


def check_file(checkpoint: dict[str, Any], state: State, amp: str | None) -> None:
    """Hold a checkpoint to the plain state that it must have."""
    meta = checkpoint['meta']
    assert (meta['epoch'], meta['iter']) == (state.epoch, state.iter)
    assert meta['validation_due'] == state.owes
    assert ('ended' in meta) == (state.ended is not None)
    assert meta['counts']['steps'] == [state.num_steps]
    _check_numbers(_of_file(checkpoint['state_dict']), state.shown, amp)
    if state.given.ema:
        _check_numbers(_of_file(checkpoint['ema_state_dict'], 'module.'), state.weights, amp)


def _of_file(weights: dict[str, Any], prefix: str = '') -> list[float]:
    return [
        number
        for name in ('weight', 'bias')
        for number in weights[f'{prefix}linear.{name}'].flatten().tolist()
    ]


def _flat(value: Any) -> list[float]:
    if not isinstance(value, list):
        return [float(value)]
    return [number for part in value for number in _flat(part)]


def _check_numbers(found: list[float], expected: Any, amp: str | None) -> None:
    numbers = [number for value in expected for number in value.flatten().tolist()]
    assert len(found) == len(numbers)
    assert all(is_close(one, other, amp) for one, other in zip(found, numbers, strict=True)), (
        found, numbers
    )  # fmt: skip


class StoppedRuns(RuleBasedStateMachine):
    """Starts of one run, each stopped in some way, some with another config than the one before."""

    ranks = st.just(1)
    changes = [name for name in _NEW_VALUES if name != 'ranks']

    @initialize(data=st.data(), stop=_STOPS)
    def begin(self, data: st.DataObject, stop: Stop) -> None:
        self.is_plain = False
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.history = History(self.folder)
        self.first = self.given = data.draw(configs(type(self).ranks))
        self.last = self.history.start(self.given, stop)
        self.is_plain = stop.kind != 'stop_training'

    @rule(stop=_STOPS)
    def start_again(self, stop: Stop) -> None:
        self.last = self.history.start(self.given, stop)
        self.is_plain &= stop.kind != 'stop_training'

    @rule(data=st.data(), stop=_STOPS)
    def change_and_start(self, data: st.DataObject, stop: Stop) -> None:
        for _ in range(data.draw(st.integers(1, 2))):
            name = data.draw(st.sampled_from(type(self).changes))
            self.given = changed(self.given, name, data.draw(_NEW_VALUES[name]))
        self.last = self.history.start(self.given, stop)
        self.is_plain = False

    @rule()
    def start_to_the_end(self) -> None:
        self.last = self.history.start(self.given)

    @precondition(lambda self: self.last.how == 'returned')
    @rule(stop=_STOPS)
    def open_again(self, stop: Stop) -> None:
        self.last = self.history.start(self.given, stop, again=True)
        self.is_plain = False

    def teardown(self) -> None:
        if not hasattr(self, 'temporary'):
            return
        with self.temporary:
            if self.is_plain and len(self.history.starts) > 1:
                self._compare_with_unbroken()

    def _compare_with_unbroken(self) -> None:
        """Without a change, the run ends with the bits of the one that was never stopped."""
        if self.last.how != 'returned':
            self.last = self.history.start(self.given)
        folder = self.folder / 'unbroken'
        folder.mkdir()
        unbroken = History(folder).start(self.given)
        if unbroken.state['iter'] == self.last.state['iter']:
            assert self.last.state == unbroken.state


def _search(machine: type[StoppedRuns], examples: int, steps: int) -> None:
    derandomize = settings().derandomize  # of the profile
    run_state_machine_as_test(
        machine,
        settings=settings(
            derandomize=derandomize,
            database=None,
            deadline=None,
            max_examples=examples if derandomize else 5 * examples,
            stateful_step_count=steps,
            report_multiple_bugs=False,
            # To shrink a failure takes minutes: its starts are few and printed as they are.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.hypothesis
def test_stopped_and_changed_runs_are_what_a_plain_model_says() -> None:
    _search(StoppedRuns, examples=15, steps=4)


class StoppedRunsOfRanks(StoppedRuns):
    """The same on one and two ranks, in real processes that are really killed."""

    ranks = st.sampled_from([2, 2, 1])
    changes = ['ranks', 'ranks', 'batch_size', 'accumulation', 'longer', 'lr', 'samples']


@pytest.mark.hypothesis
@pytest.mark.distributed
def test_stopped_and_changed_runs_of_ranks_are_what_a_plain_model_says() -> None:
    _search(StoppedRunsOfRanks, examples=2, steps=2)


# The smallest sequences that the search has found.


def _history(folder: Path, *starts: tuple[Given, Stop]) -> list[Told]:
    history = History(folder)
    return [history.start(given, stop) for given, stop in starts]


_KILLED_AT_POINTER = Stop('kill', 1, 'pointer')


@pytest.mark.parametrize('keeps_best', [True, False])
def test_an_owed_validation_of_a_resumed_run_is_made_once(tmp_path, keeps_best):
    given = Given(length=1, keeps_best=keeps_best, patience=1)
    starts = [(given, _KILLED_AT_POINTER), (given, _TO_THE_END), (given, _TO_THE_END)]
    *_, owed, ended = _history(tmp_path, *starts)
    assert (len(owed.validations), len(ended.validations)) == (1, 0)


@pytest.mark.parametrize('schedule', ['epochs', 'plateau'])
def test_a_checkpoint_before_the_end_of_its_epoch_knows_nothing_of_the_end(tmp_path, schedule):
    given = Given(
        length=3, saves_by_epoch=False, save_interval=2, schedule=schedule, keeps_best=True,
        patience=2,
    )  # fmt: skip
    starts = [(given, Stop('kill', 5)), (given, _TO_THE_END), (given, _TO_THE_END)]
    *_, rest, ended = _history(tmp_path, *starts)
    assert [len(told.validations) for told in (rest, ended)] == [3, 0]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_schedule_with_metrics_goes_on_in_a_longer_and_a_reopened_run(tmp_path, by_epoch):
    given = Given(
        by_epoch=by_epoch, length=5, samples=4, batch_size=1, optimizer='AdamW',
        schedule='plateau', save_interval=2,
    )  # fmt: skip
    longer = replace(given, length=9)
    first, second = _history(tmp_path, (given, Stop('stop_training', 3)), (longer, _TO_THE_END))
    assert second.state['lr'] < first.state['lr']


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('ema', [True, False])
def test_a_run_that_is_shortened_to_where_it_is_closes_its_window(tmp_path, by_epoch, ema):
    given = Given(by_epoch=by_epoch, length=4, samples=3, batch_size=1, accumulation=2, ema=ema)
    length = 1 if by_epoch else 3
    stop = Stop('kill', 2 if by_epoch else 4, 'pointer')
    short = replace(given, length=length)
    _, closed, ended = _history(tmp_path, (given, stop), (short, _TO_THE_END), (short, _TO_THE_END))
    # Three batches are two windows; the second has one batch.
    assert closed.state['num_steps'] == ended.state['num_steps'] == 2
    assert closed.iterations == [[]]


@pytest.mark.parametrize('clips', [True, False])
def test_a_scaled_run_that_ends_where_it_is_resumed_closes_its_window(tmp_path, clips):
    given = Given(length=3, samples=5, batch_size=1, accumulation=2, amp='float16', clips=clips)
    short = replace(given, length=1)
    _, closed, _ = _history(
        tmp_path, (given, _KILLED_AT_POINTER), (short, _TO_THE_END), (given, _TO_THE_END)
    )
    assert closed.state['num_steps'] == 3
