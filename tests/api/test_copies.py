"""What travels between processes is the same after pickling, copying and a spawned process.

Each object comes with the facts that have to survive; the spawned process works them out anew.
"""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmengine.config import Config, ConfigDict
from mmengine.dataset import (
    BaseDataset,
    ClassBalancedDataset,
    Compose,
    ConcatDataset,
    DefaultSampler,
    InfiniteSampler,
    RepeatDataset,
    default_collate,
)
from mmengine.fileio import FsspecBackend, HTTPBackend, LocalBackend
from mmengine.logging import HistoryBuffer, MessageHub, MMLogger
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement, InstanceData, LabelData, PixelData
from mmengine.testing._internal.start_method import start_method
from mmengine.utils import Timer
from mmengine.visualization import LocalVisBackend


class AddOne:
    """A transform with an argument, as projects write them."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        return {**results, self.key: results[self.key] + 1}


TRANSFORMS.register_module(name='CopiesAddOne', module=AddOne, force=True)


class Numbers(BaseDataset):
    METAINFO = {'classes': ('even', 'odd')}

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{'value': i, 'label': i % 2} for i in range(6)]

    def get_cat_ids(self, idx: int) -> list[int]:
        return [self.get_data_info(idx)['label']]


def numbers(serialize: bool = True) -> Numbers:
    pipeline = [{'type': 'CopiesAddOne', 'key': 'value'}, AddOne('label')]
    return Numbers(pipeline=pipeline, serialize_data=serialize)


FOLDER = Path(__file__).parent / 'data'


def text_config() -> Config:
    return Config.fromfile(FOLDER / 'text_config.py', lazy_import=False)


def lazy_config() -> Config:
    return Config.fromfile(FOLDER / 'lazy_config.py', lazy_import=True)


def config_facts(cfg: Config) -> Any:
    return cfg.to_dict(), cfg.pretty_text, cfg.filename, cfg.model.depth


def lazy_facts(cfg: Config) -> Any:
    return cfg.pretty_text, cfg.filename, cfg.model.type.__name__, cfg.model.in_features


def element() -> BaseDataElement:
    made = BaseDataElement(metainfo={'shape': (4, 5)}, scores=torch.arange(3.0))
    made.nested = BaseDataElement(flag=True)
    return made


def element_facts(data: BaseDataElement) -> Any:
    return data.metainfo, data.scores.tolist(), data.nested.flag, sorted(data.keys())


def instances() -> InstanceData:
    return InstanceData(
        metainfo={'size': 8}, boxes=torch.arange(8.0).view(2, 4), names=['a', 'b'], ids=np.arange(2)
    )


def instance_facts(data: InstanceData) -> Any:
    return len(data), data.metainfo, data.boxes.tolist(), data.names, data.ids.tolist()


def buffer() -> HistoryBuffer:
    made = HistoryBuffer()
    for value in (1.0, 2.0, 6.0):
        made.update(value)
    return made


def hub() -> MessageHub:
    made = MessageHub.get_instance('copied_hub')
    made.update_scalar('train/loss', 0.5)
    made.update_info('epoch', 3)
    return made


def dataset_facts(dataset: Any) -> Any:
    values = [(item['value'], item['label']) for item in map(dataset.__getitem__, range(4))]
    return len(dataset), dict(dataset.metainfo), values


def sampler(cls: Any, **kwargs: Any) -> Any:
    made = cls(range(10), seed=3, **kwargs)
    if hasattr(made, 'set_epoch'):
        made.set_epoch(2)
    return made


def first_indices(made: Any) -> list[int]:
    return [index for index, _ in zip(made, range(10), strict=False)]


class Case(NamedTuple):
    make: Callable[[], Any]
    facts: Callable[[Any], Any]


def composed_facts(transforms: Compose) -> Any:
    return transforms({'value': 1, 'label': 5}), len(transforms.transforms)


def name_of(made: Any) -> Any:
    return made.name


def logger_facts(logger: MMLogger) -> Any:
    return type(logger).__name__, logger.instance_name


CASES: dict[str, Case] = {
    'text config': Case(text_config, config_facts),
    'lazy config': Case(lazy_config, lazy_facts),
    'config dict': Case(lambda: text_config().model, lambda cfg: (cfg.to_dict(), cfg.depth)),
    'data element': Case(element, element_facts),
    'instances': Case(instances, instance_facts),
    'labels': Case(
        lambda: LabelData(item=torch.tensor([1, 2])), lambda data: data.item.tolist()
    ),
    'pixels': Case(
        lambda: PixelData(mask=torch.eye(3)), lambda data: (data.shape, data.mask.tolist())
    ),
    'dataset': Case(numbers, dataset_facts),
    'dataset kept as objects': Case(lambda: numbers(serialize=False), dataset_facts),
    'concatenated': Case(lambda: ConcatDataset([numbers(), numbers()]), dataset_facts),
    'repeated': Case(lambda: RepeatDataset(numbers(), times=2), dataset_facts),
    'balanced': Case(lambda: ClassBalancedDataset(numbers(), 0.9), dataset_facts),
    'default sampler': Case(lambda: sampler(DefaultSampler), first_indices),
    'infinite sampler': Case(lambda: sampler(InfiniteSampler), first_indices),
    'transforms': Case(
        lambda: Compose([{'type': 'CopiesAddOne', 'key': 'value'}, AddOne('label')]), composed_facts
    ),
    'logger': Case(lambda: MMLogger.get_instance('copied_logger'), logger_facts),
    'history': Case(buffer, lambda made: (made.mean(), made.max(), made.data[0].tolist())),
    'message hub': Case(
        hub, lambda made: (made.get_scalar('train/loss').current(), made.get_info('epoch'))
    ),
    'local files': Case(LocalBackend, name_of),
    'web files': Case(HTTPBackend, name_of),
    'remote files': Case(lambda: FsspecBackend(key='k'), lambda made: made.kwargs),
    'local tracker': Case(lambda: LocalVisBackend('unused'), lambda made: type(made).__name__),
    'timer': Case(lambda: Timer(start=False), lambda made: made.is_running),
}  # fmt: skip


@pytest.mark.parametrize('name', CASES)
def test_a_deep_copy_is_equal(name: str) -> None:
    case = CASES[name]
    original = case.make()
    expected = case.facts(original)
    assert case.facts(copy.deepcopy(original)) == expected
    assert case.facts(copy.copy(original)) == expected
    assert case.facts(original) == expected


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('name', CASES)
def test_a_pickle_is_equal(name: str, protocol: int) -> None:
    case = CASES[name]
    original = case.make()
    assert case.facts(pickle.loads(pickle.dumps(original, protocol))) == case.facts(original)


def _facts_in_child(objects: dict[str, Any], queue: Any) -> None:
    queue.put({name: CASES[name].facts(made) for name, made in objects.items()})


def test_another_process_finds_the_same() -> None:
    objects = {name: case.make() for name, case in CASES.items()}
    context: Any = start_method()
    queue = context.Queue()
    child = context.Process(target=_facts_in_child, args=(objects, queue))
    child.start()
    try:
        found = queue.get(timeout=300)
    finally:
        child.join(timeout=300)
    assert found == {name: case.facts(objects[name]) for name, case in CASES.items()}


def test_a_deep_copy_shares_nothing() -> None:
    cfg = text_config()
    twin = copy.deepcopy(cfg)
    twin.model.depth = 1
    twin.model.stages.append(9)
    assert (cfg.model.depth, cfg.model.stages) == (50, [3, 4])
    data = instances()
    other = copy.deepcopy(data)
    other.boxes[0] = -1
    other.names.append('c')
    assert data.boxes[0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert data.names == ['a', 'b']


def test_a_copied_config_dict_knows_where_it_was_written() -> None:
    from mmengine.config import source_location

    made = pickle.loads(pickle.dumps(copy.deepcopy(text_config().model)))
    assert isinstance(made, ConfigDict)
    assert str(source_location(made)).endswith('text_config.py:1')


@pytest.mark.parametrize('method', ['fork', 'forkserver'])
@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded:DeprecationWarning')
def test_workers_of_a_dataloader_read_a_dataset_in_order(method: str) -> None:
    dataset = numbers()
    order = DefaultSampler(dataset, shuffle=True, seed=5)
    loader = DataLoader(
        dataset,
        batch_size=2,
        sampler=order,
        num_workers=1,
        multiprocessing_context=method,
        collate_fn=default_collate,
    )
    expected = [dataset[index]['value'] for index in order]
    assert [value for batch in loader for value in batch['value'].tolist()] == expected
