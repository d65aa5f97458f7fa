"""Values of a wrong kind, such as the text 'False' for a bool, are told before a run is built."""

import copy
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from runner_toy import toy_config, toy_runner
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmengine.config import Config
from mmengine.runner import check_config
from mmengine.runner._annotations import accepts, schema_of
from mmengine.runner._values import misfit


def told(config: dict[str, Any]) -> list[str]:
    return [str(each) for each in check_config(Config(config)) if each.is_certain]


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('train_dataloader.shuffle', 'False', 'shuffle must be True or False, got the text'),
        ('train_dataloader.drop_last', 'no', "drop_last must be True or False, got the text 'no'"),
        ('train_dataloader.pin_memory', '0', "pin_memory must be True or False, got the text '0'"),
        ('train_dataloader.persistent_workers', 'false', 'persistent_workers must be True or'),
        ('train_dataloader.batch_size', '4', "batch_size must be an integer or None, got the text"),
        ('train_dataloader.num_workers', '2', "num_workers must be an integer, got the text '2'"),
        ('train_dataloader.sampler.shuffle', 'False', 'shuffle must be True or False, got'),
        ('train_cfg.by_epoch', 'False', 'by_epoch must be True or False, got'),
        ('train_cfg.max_epochs', '3', "max_epochs must be an integer, got the text '3'. Leave out"),
        ('val_cfg.compute_loss', 'False', 'compute_loss must be True or False, got'),
        ('optim_wrapper.optimizer.lr', '0.1', "lr must be a number, got the text '0.1'. Leave out"),
        ('optim_wrapper.accumulative_counts', '2', 'accumulative_counts must be an integer, got'),
        ('optim_wrapper.skip_non_finite', 'True', 'skip_non_finite must be True or False, got'),
        ('default_hooks.checkpoint', {'save_last': 'False'}, 'save_last must be True or False'),
        ('default_hooks.checkpoint', {'interval': '1'}, 'interval must be an integer, got the'),
        ('param_scheduler', {'type': 'StepLR', 'step_size': 1, 'by_epoch': 'True'},
         'by_epoch must be True or False, got'),
        ('param_scheduler', {'type': 'MultiStepLR', 'milestones': ['1']},
         "milestones must be a list of integers, got ['1']"),
        ('randomness.seed', '5', "seed must be an integer or None, got the text '5'. Leave out"),
        ('randomness.deterministic', 'no', 'deterministic must be True or False, got'),
        ('env_cfg', {'cudnn_benchmark': 'False'}, 'cudnn_benchmark must be True or False, got'),
        ('env_cfg', {'lock': 'false'}, "lock must be True or False, got the text 'false'"),
        ('auto_scale_lr', {'base_batch_size': '16'}, 'base_batch_size must be an integer, got'),
        ('resume', 'False', "resume must be True or False, got the text 'False'. Leave out"),
        ('compile', 'False', "compile must be True or False, got the text 'False'. Leave out"),
        ('find_unused_parameters', 'False', 'find_unused_parameters must be True or False'),
        ('default_hooks', [{'type': 'EMAHook'}], 'default_hooks must be a dict or None, got'),
        ('custom_hooks', {'type': 'EMAHook'}, 'custom_hooks must be a list or None, got a dict'),
        ('visualizer', [], 'visualizer must be a dict or None, got []'),
        ('randomness', 5, 'randomness must be a dict, got 5'),
        ('param_scheduler', 'StepLR', 'param_scheduler is a scheduler, a dict, a list of these'),
        ('train_dataloader.dataset', None, 'dataset is None.'),
        ('train_dataloader.dataset', 'ToyLine', "dataset is the text 'ToyLine'. Write dict(type="),
    ],
    ids=lambda value: value if isinstance(value, str) and ' ' not in value else '',
)  # fmt: skip
def test_a_wrong_value_is_one_mistake_of_the_config(
    tmp_path: Path, path: str, value: Any, message: str
) -> None:
    config = {key: copy.deepcopy(part) for key, part in toy_config(tmp_path).items()}
    node: Any = config
    *parents, key = path.split('.')
    for parent in parents:
        node = node[parent]
    node[key] = value
    found = told(config)
    assert len(found) == 1, found
    assert message in found[0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'default_hooks': []}, 'default_hooks must be a dict or None'),
        ({'custom_hooks': {'type': 'EMAHook'}}, 'custom_hooks must be a list or None, got a dict'),
        (
            {'randomness': {'seed': '5'}},
            'randomness: seed must be an integer or None, got the text',
        ),
        ({'param_scheduler': 'StepLR'}, 'param_scheduler is a scheduler, a dict'),
        ({'visualizer': [{}]}, 'visualizer must be a dict or None'),
        ({'cfg': {'compile': 'False'}}, 'compile must be True or False'),
        ({'val_dataloader': {'dataset': Dataset}}, 'val_dataloader: dataset is the class Dataset'),
        ({'model': 'ResNet'}, "model must be a torch.nn.Module .* got the text 'ResNet'"),
        ({'model': None}, 'model must be a torch.nn.Module .* got None'),
    ],
    ids=lambda value: '' if isinstance(value, str) else next(iter(value)),
)
def test_a_runner_refuses_a_wrong_argument_in_a_sentence(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        toy_runner(tmp_path / 'run', **changes)
    if 'model' not in changes:
        assert not (tmp_path / 'run').exists(), 'nothing was built'


def test_all_wrong_arguments_come_in_one_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r'(?s)default_hooks must.*seed must') as raised:
        toy_runner(tmp_path, default_hooks=[], randomness={'seed': 'a'})
    assert isinstance(raised.value, AssertionError), 'as in the API'


@pytest.mark.parametrize(
    ('value', 'annotation', 'default', 'is_exact', 'is_wrong'),
    [
        ('False', 'bool', ..., False, True),
        ('False', ..., True, False, True),
        ('auto', ..., True, False, False),  # an argument without an annotation may take more
        ('auto', 'bool', True, False, True),
        ('b0', ..., 50, False, False),
        ('50', ..., 50, False, True),
        ('50', 'int | str', 50, False, False),
        ('false', 'bool | str', True, True, True),
        ('runs/false', 'bool | str', True, True, False),
        (1, 'bool', ..., True, False),
        (2, 'bool', ..., True, True),
        (0.5, 'int', ..., True, True),
        (2.0, 'int', ..., True, False),
        (True, 'int', ..., True, True),
        ([1], 'int', ..., False, False),  # annotations of other packages may be incomplete
        ([1], 'int', ..., True, True),
        ((0.9, 0.99), 'tuple[float, float]', ..., True, False),
        ([0.9], 'tuple[float, float]', ..., True, True),
        ('a', "Literal['a', 'b']", ..., True, False),
        ('c', "Literal['a', 'b']", ..., True, True),
        (object(), 'int', ..., True, False),
    ],
)
def test_a_value_is_judged_by_annotation_or_default(
    value: Any, annotation: Any, default: Any, is_exact: bool, is_wrong: bool
) -> None:
    empty = inspect.Parameter.empty
    given_, default = (empty if each is ... else each for each in (annotation, default))
    assert (misfit('x', value, given_, default, is_exact=is_exact) is not None) == is_wrong


@given(
    st.sampled_from(['bool', 'str | None', 'list[str]', 'dict[str, int] | None', 'bool | str',
                     'int | list[int]', "Literal['a', 1]", 'tuple[str, str]']),
    st.recursive(
        st.none() | st.booleans() | st.sampled_from(['a', 'b']),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just('k'), inner),
        max_leaves=4,
    ),
)  # fmt: skip
def test_the_check_and_the_schema_agree_about_all_but_numbers(annotation: str, value: Any) -> None:
    schema = schema_of(annotation)
    valid = Draft202012Validator(schema).is_valid(json.loads(json.dumps(value)))
    if not (schema.get('enum') or 'Literal' in annotation):  # True equals 1 in Python
        assert accepts(schema, value) == valid


class Forgetful(Dataset):
    """Has no number of samples."""

    def __getitem__(self, index: int) -> int:
        return index


class Empty(Dataset):
    """Has no samples."""

    def __len__(self) -> int:
        return 3


class Iterating:
    """Is a stream that does not say so."""

    def __iter__(self) -> Any:
        return iter([1])


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter([1])


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        (Forgetful, 'Forgetful has no __len__(), the number of its samples'),
        (Empty, 'Empty has no __getitem__(index), which returns a sample.'),
        (Iterating, 'A stream derives from torch.utils.data.IterableDataset.'),
        (Stream, None),
    ],
)
@pytest.mark.parametrize('how', ['config', 'object'])
def test_a_dataset_without_samples_or_length_is_told(
    tmp_path: Path, kind: type, message: str | None, how: str
) -> None:
    dataset = {'type': kind} if how == 'config' else kind()
    config = toy_config(tmp_path, train_dataloader={'dataset': dataset})
    found = told(config)
    if message is None:
        assert found == []
        return
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith('train_dataloader: ')
    with pytest.raises(TypeError) as raised:
        toy_runner(tmp_path, train_dataloader={'dataset': dataset}).train()
    assert message in str(raised.value)


class EveryFirst:
    """A sampler that does not count the samples."""

    def __init__(self, dataset: Any, seed: int | None) -> None:
        pass

    def __iter__(self) -> Any:
        return iter([0, 0])

    def __len__(self) -> int:
        return 2


def test_a_custom_sampler_may_do_without_a_length(tmp_path: Path) -> None:
    loader = {'dataset': {'type': Forgetful}, 'sampler': {'type': EveryFirst}}
    assert told(toy_config(tmp_path, train_dataloader=loader)) == []
    built = toy_runner(tmp_path).build_dataloader(loader)
    assert isinstance(built, DataLoader)
    assert list(built) == [[0], [0]]
