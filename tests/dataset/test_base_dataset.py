"""BaseDataset: reading, choosing and handing out samples."""

import copy
import json
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml
from torch.utils.data import DataLoader

from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose, force_full_init
from mmengine.registry import TRANSFORMS
from mmengine.utils.errors import ArgumentError

RECORDS = [{'img_path': f'{i}.jpg', 'height': 10 * i} for i in range(5)]
METAINFO = {'classes': ['cat', 'dog'], 'task': 'toy'}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / 'ann.json').write_text(json.dumps({'metainfo': METAINFO, 'data_list': RECORDS}))
    return tmp_path


def make(root: Path, **kwargs) -> BaseDataset:
    kwargs.setdefault('data_prefix', {})
    return BaseDataset(ann_file='ann.json', data_root=str(root), **kwargs)


def heights(dataset: BaseDataset) -> list[int]:
    return [dataset.get_data_info(i)['height'] for i in range(len(dataset))]


class Numbers(BaseDataset):
    """Ten samples that need no file."""

    METAINFO = {'classes': ('even', 'odd')}

    def load_data_list(self):
        return [{'number': i} for i in range(10)]


class Counting(Numbers):
    loads = 0

    def load_data_list(self):
        type(self).loads += 1
        return super().load_data_list()


def double(sample):
    return {**sample, 'number': 2 * sample['number']}


def drop_odd(sample):
    return sample if sample['number'] % 2 == 0 else None


def drop_all(sample):
    return None


# Reading


@pytest.mark.parametrize(
    ('name', 'write'),
    [
        ('ann.json', lambda path, content: path.write_text(json.dumps(content))),
        ('ann.yaml', lambda path, content: path.write_text(yaml.safe_dump(content))),
        ('ann.pkl', lambda path, content: path.write_bytes(pickle.dumps(content))),
    ],
    ids=['json', 'yaml', 'pickle'],
)
def test_an_annotation_file_gives_samples_and_metainfo(tmp_path, name, write):
    write(tmp_path / name, {'metainfo': METAINFO, 'data_list': RECORDS})
    dataset = BaseDataset(ann_file=str(tmp_path / name), data_prefix={})
    assert [dataset[i] for i in range(5)] == [
        {**record, 'sample_idx': i} for i, record in enumerate(RECORDS)
    ]
    assert dataset.metainfo == METAINFO


def test_data_root_goes_before_relative_paths_only(root):
    dataset = make(root, data_prefix={'img_path': 'imgs', 'other': '/abs'}, lazy_init=True)
    assert dataset.ann_file == f'{root}/ann.json'
    assert dataset.data_prefix == {'img_path': f'{root}/imgs', 'other': '/abs'}


def test_prefixes_go_before_the_paths_of_records(root):
    dataset = make(root, data_prefix={'img_path': 'imgs'})
    assert dataset[3]['img_path'] == f'{root}/imgs/3.jpg'


def test_without_root_and_prefix_paths_stay_as_they_are(root):
    dataset = BaseDataset(ann_file=str(root / 'ann.json'))
    assert dataset[3]['img_path'] == '3.jpg'


def test_parse_data_info_may_give_several_samples_or_none(root):
    class Split(BaseDataset):
        def parse_data_info(self, raw_data_info):
            return [
                {'part': (raw_data_info['height'], k)} for k in range(raw_data_info['height'] // 10)
            ]

    dataset = Split(ann_file=str(root / 'ann.json'))
    # 0 + 1 + 2 + 3 + 4 parts
    assert len(dataset) == 10
    assert dataset[9]['part'] == (40, 3)


def test_filter_data_sees_the_filter_cfg(root):
    class Tall(BaseDataset):
        def filter_data(self):
            return [info for info in self.data_list if info['height'] >= self.filter_cfg['min']]

    assert heights(Tall(ann_file=str(root / 'ann.json'), filter_cfg={'min': 30})) == [30, 40]


def test_a_config_of_filters_is_not_shared_with_the_caller(root):
    filter_cfg = {'min': 1}
    dataset = make(root, filter_cfg=filter_cfg)
    filter_cfg['min'] = 2
    assert dataset.filter_cfg == {'min': 1}


# Metainfo


def test_metainfo_given_goes_before_the_class_and_the_class_before_the_file(root):
    class WithMeta(BaseDataset):
        METAINFO = {'task': 'of the class', 'palette': 1, 'classes': ['of the class']}

    dataset = WithMeta(ann_file=str(root / 'ann.json'), metainfo={'palette': 2})
    assert dataset.metainfo == {'classes': ['of the class'], 'task': 'of the class', 'palette': 2}


def test_a_string_in_metainfo_that_names_a_file_stands_for_its_lines(root):
    (root / 'names.txt').write_text('lynx\nwolf\n')
    dataset = make(root, metainfo={'classes': str(root / 'names.txt'), 'task': 'detection'})
    assert dataset.metainfo['classes'] == ['lynx', 'wolf']
    assert dataset.metainfo['task'] == 'detection'


def test_metainfo_may_be_a_config(root):
    assert make(root, metainfo=Config({'task': 'x'})).metainfo['task'] == 'x'


def test_metainfo_is_handed_out_as_a_copy(root):
    dataset = make(root)
    dataset.metainfo['classes'].append('bird')
    assert dataset.metainfo['classes'] == ['cat', 'dog']
    Numbers().metainfo['classes'] = ()
    assert Numbers.METAINFO == {'classes': ('even', 'odd')}


# Choosing


@pytest.mark.parametrize(
    ('indices', 'expected'),
    [
        (2, [0, 10]),
        (-2, [30, 40]),
        (0, []),
        ([0, 3], [0, 30]),
        ([4, -5, 4], [40, 0, 40]),
        ((1, 2), [10, 20]),
        (np.array([3, 1]), [30, 10]),
    ],
    ids=['first', 'last', 'none', 'list', 'repeated-and-from-the-end', 'tuple', 'array'],
)
@pytest.mark.parametrize('serialize_data', [True, False], ids=['packed', 'list'])
def test_indices_choose_samples_at_construction_and_later(root, indices, expected, serialize_data):
    assert heights(make(root, indices=indices, serialize_data=serialize_data)) == expected
    dataset = make(root, serialize_data=serialize_data)
    assert heights(dataset.get_subset(indices)) == expected
    assert len(dataset) == 5
    dataset.get_subset_(indices)
    assert heights(dataset) == expected


def test_indices_beyond_the_end_mean_everything_at_construction(root):
    assert heights(make(root, indices=9)) == [0, 10, 20, 30, 40]
    assert heights(make(root, indices=-9)) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize('indices', [6, -6, [5], [-6]])
@pytest.mark.parametrize('serialize_data', [True, False], ids=['packed', 'list'])
def test_a_subset_beyond_the_end_is_refused(root, indices, serialize_data):
    with pytest.raises(ArgumentError, match='5 samples'):
        make(root, serialize_data=serialize_data).get_subset(indices)


@pytest.mark.parametrize('indices', ['all', [0.5], None, {1}])
def test_a_subset_by_anything_else_is_refused(root, indices):
    with pytest.raises(TypeError):
        make(root).get_subset(indices)


def test_a_subset_shares_no_settings_with_its_origin(root):
    dataset = make(root, pipeline=[dict])
    subset = dataset.get_subset(2)
    subset.pipeline.transforms.append(len)
    subset._metainfo['task'] = 'changed'
    assert dataset.pipeline.transforms == [dict]
    assert dataset.metainfo['task'] == 'toy'
    assert heights(subset.get_subset(-1)) == [10]


# Handing out


@pytest.mark.parametrize('serialize_data', [True, False], ids=['packed', 'list'])
def test_a_record_changed_by_its_user_is_fresh_the_next_time(serialize_data):
    dataset = Numbers(serialize_data=serialize_data)
    dataset.get_data_info(4)['number'] = 'changed'
    assert dataset.get_data_info(4) == {'number': 4, 'sample_idx': 4}


def test_negative_indices_count_from_the_end():
    assert Numbers()[-1] == {'number': 9, 'sample_idx': 9}
    assert Numbers()[np.int64(-10)] == {'number': 0, 'sample_idx': 0}


@pytest.mark.parametrize('index', [10, -11])
def test_an_index_out_of_range_is_an_index_error(index):
    with pytest.raises(IndexError, match=f'Numbers has 10 samples, none at index {index}'):
        Numbers()[index]


def test_iterating_a_dataset_ends():
    assert [sample['number'] for sample in Numbers()] == list(range(10))


def test_packed_records_are_one_array_of_bytes():
    dataset = Numbers()
    assert dataset.data_list == []
    assert dataset.data_bytes.dtype == np.uint8
    assert dataset.data_address[-1] == len(dataset.data_bytes)
    first_record = dataset.data_bytes[: dataset.data_address[0]].tobytes()
    assert pickle.loads(first_record) == {'number': 0}


def test_packing_leaves_the_list_of_the_subclass_alone():
    kept = [{'number': 1}]

    class Cached(BaseDataset):
        def load_data_list(self):
            return kept

    assert len(Cached()) == 1
    assert kept == [{'number': 1}]


def test_the_pipeline_runs_in_order():
    assert Numbers(pipeline=[double, drop_odd, double])[3] == {'number': 12, 'sample_idx': 3}


def test_a_dropped_sample_is_replaced_by_another():
    np.random.seed(0)
    dataset = Numbers(pipeline=[drop_odd])
    assert all(dataset[index]['number'] % 2 == 0 for index in range(10))


def test_a_pipeline_that_drops_everything_ends_in_an_error():
    with pytest.raises(RuntimeError, match=r'(?s)index 3.*3 others.*transform 2 of 2.*drop_all'):
        Numbers(pipeline=[double, drop_all], max_refetch=3)[3]


def test_dropping_in_test_mode_is_an_error():
    with pytest.raises(RuntimeError, match=r'test mode.*index 3.*drop_odd.*sample_idx=3'):
        Numbers(pipeline=[drop_odd], test_mode=True)[3]


# Loading late


def test_lazy_init_loads_once_at_the_first_need():
    Counting.loads = 0
    dataset = Counting(lazy_init=True)
    assert Counting.loads == 0
    assert len(dataset) == 10
    assert dataset[2]['number'] == 2
    dataset.full_init()
    assert Counting.loads == 1


@pytest.mark.parametrize(
    'use',
    [len, lambda d: d[0], lambda d: d.get_data_info(0), lambda d: d.get_subset(1)],
    ids=['len', 'getitem', 'get_data_info', 'get_subset'],
)
def test_every_use_of_the_samples_loads_them(use):
    dataset = Numbers(lazy_init=True)
    use(dataset)
    assert dataset._fully_initialized


def test_force_full_init_needs_a_full_init():
    class Bare:
        @force_full_init
        def answer(self):
            return 42

    with pytest.raises(AttributeError, match=r'Bare.answer .* full_init'):
        Bare().answer()


def test_a_subclass_may_set_itself_up_without_our_constructor():
    class OwnInit(BaseDataset):
        def __init__(self):
            self.serialize_data = True
            self.test_mode = False
            self.max_refetch = 2
            self.filter_cfg = None
            self._metainfo = self._load_metainfo({'task': 'own'})
            self.pipeline = Compose([])
            self.full_init()

        def load_data_list(self):
            return [{'a': 1}]

    assert OwnInit()[0] == {'a': 1, 'sample_idx': 0}
    assert OwnInit().metainfo == {'task': 'own'}


def test_a_subclass_may_load_step_by_step_itself():
    class OwnFullInit(Numbers):
        def full_init(self):
            if self._fully_initialized:
                return
            self.data_list = self.load_data_list()
            self.data_list = self._get_unserialized_subset(self._indices)
            self.data_bytes, self.data_address = self._serialize_data()
            self._fully_initialized = True

    assert OwnFullInit(indices=[7])[0] == {'number': 7, 'sample_idx': 0}


# Going elsewhere


@pytest.mark.parametrize('serialize_data', [True, False], ids=['packed', 'list'])
@pytest.mark.parametrize(
    'send',
    [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))],
    ids=['copy', 'deepcopy', 'pickle'],
)
def test_a_copy_has_the_same_samples(send, serialize_data):
    dataset = Numbers(serialize_data=serialize_data, pipeline=[double], indices=4)
    sent = send(dataset)
    assert [sent[i] for i in range(4)] == [dataset[i] for i in range(4)]
    assert sent.metainfo == dataset.metainfo


def numbers_of(batch):
    return [sample['number'] for sample in batch]


@pytest.mark.parametrize('start_method', ['fork', 'forkserver'])
def test_workers_read_the_same_samples(start_method):
    if start_method not in multiprocessing.get_all_start_methods():
        pytest.skip(f'{start_method} is not on this system')
    loader = DataLoader(
        Numbers(pipeline=[double]),
        batch_size=5,
        num_workers=1,
        collate_fn=numbers_of,
        multiprocessing_context=start_method,
    )
    assert list(loader) == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]]


# Bad input


def test_a_missing_annotation_file_names_the_nearest(root):
    with pytest.raises(
        FileNotFoundError, match=r"finds no ann_file .*an.json.*Did you mean 'ann.json'"
    ):
        BaseDataset(ann_file='an.json', data_root=str(root))


def test_a_missing_folder_is_told(root):
    with pytest.raises(FileNotFoundError, match='folder is missing too'):
        BaseDataset(ann_file='no/ann.json', data_root=str(root))


def test_no_annotation_file_at_all_is_told():
    with pytest.raises(ArgumentError, match='needs an ann_file'):
        BaseDataset()


@pytest.mark.parametrize(
    ('content', 'error', 'message'),
    [
        ([1], TypeError, 'must hold a dict .* got list'),
        ({'data_list': []}, ArgumentError, 'lacks metainfo and has'),
        ({'metainfo': {}, 'datalist': []}, ArgumentError, "lacks data_list and has .'datalist'"),
        ({'metainfo': [], 'data_list': []}, TypeError, 'metainfo .* must be a dict, got list'),
        ({'metainfo': {}, 'data_list': {}}, TypeError, 'data_list .* must be a list, got dict'),
        ({'metainfo': {}, 'data_list': [3]}, TypeError, 'record .* must be a dict, got int'),
    ],
)
def test_a_malformed_annotation_file_is_told(tmp_path, content, error, message):
    (tmp_path / 'bad.json').write_text(json.dumps(content))
    with pytest.raises(error, match=message):
        BaseDataset(ann_file=str(tmp_path / 'bad.json'), data_prefix={})


@pytest.mark.parametrize('parsed', [None, 3, [{}, 3]])
def test_parse_data_info_must_give_dicts(root, parsed):
    class Wrong(BaseDataset):
        def parse_data_info(self, raw_data_info):
            return parsed

    with pytest.raises(TypeError, match=r'Wrong.parse_data_info must return a dict.*record 0'):
        Wrong(ann_file=str(root / 'ann.json'))


def test_a_prefix_for_a_key_that_records_lack_names_the_nearest(root):
    with pytest.raises(ArgumentError, match=r"'img_paht'.*Did you mean 'img_path'"):
        make(root, data_prefix={'img_paht': 'imgs'})


def test_a_prefix_that_is_no_string_is_refused(root):
    with pytest.raises(TypeError, match=r"data_prefix\['img_path'\] must be a string, got list"):
        make(root, data_prefix={'img_path': ['a']})


def test_metainfo_that_is_no_mapping_is_refused(root):
    with pytest.raises(TypeError, match='metainfo must be a mapping or a Config, got int'):
        make(root, metainfo=3)


def test_balancing_needs_get_cat_ids(root):
    with pytest.raises(NotImplementedError, match='BaseDataset must define get_cat_ids'):
        make(root).get_cat_ids(0)


# Compose


def test_compose_builds_transforms_from_configs():
    class AddToSample:
        def __init__(self, amount):
            self.amount = amount

        def __call__(self, sample):
            return sample + self.amount

    TRANSFORMS.register_module(module=AddToSample)
    try:
        pipeline = Compose([{'type': 'AddToSample', 'amount': 2}, str])
    finally:
        TRANSFORMS._module_dict.pop('AddToSample')
    assert pipeline(1) == '3'


def test_compose_stops_where_a_sample_is_dropped():
    seen = []
    assert Compose([drop_all, seen.append])({}) is None
    assert seen == []


def test_an_empty_pipeline_hands_the_sample_through():
    sample = object()
    assert Compose(None)(sample) is sample
    assert Compose([])(sample) is sample


def test_an_error_in_a_transform_says_where_it_happened():
    def broken(sample):
        raise ZeroDivisionError('no')

    with pytest.raises(ZeroDivisionError) as caught:
        Compose([dict, broken])({'sample_idx': 7, 'img_path': 'a.jpg'})
    assert getattr(caught.value, '__notes__', ['not on this Python'])[0] in (
        'Raised in transform 2 of 2 of the pipeline, broken, on the sample with sample_idx=7, '
        "img_path='a.jpg'.",
        'not on this Python',
    )


@pytest.mark.parametrize('transforms', [3, 'Resize', {'type': 'Resize'}, [3]])
def test_a_pipeline_of_anything_else_is_refused(transforms):
    with pytest.raises(TypeError, match='pipeline'):
        Compose(transforms)


def test_the_text_of_a_pipeline_lists_its_transforms():
    assert repr(Compose([len])) == 'Compose(\n    <built-in function len>\n)'


def test_a_pickle_from_elsewhere_is_warned_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ('mine', 'root', 'elsewhere'):
        (tmp_path / folder).mkdir()
        content = {'metainfo': {}, 'data_list': [{'label': np.float32(0.5)}]}
        (tmp_path / folder / 'ann.pkl').write_bytes(pickle.dumps(content))
    monkeypatch.chdir(tmp_path / 'mine')
    BaseDataset('ann.pkl', data_prefix={})
    BaseDataset('ann.pkl', data_root=str(tmp_path / 'root'), data_prefix={})
    assert 'runs any code' not in ''.join(capsys.readouterr())
    elsewhere = str(tmp_path / 'elsewhere' / 'ann.pkl')
    BaseDataset(elsewhere, data_prefix={}, allow_pickle=False)
    assert 'runs any code' not in ''.join(capsys.readouterr())
    for _ in range(2):
        BaseDataset(elsewhere, data_prefix={})
    assert ''.join(capsys.readouterr()).count('runs any code') == 1


def test_allow_pickle_false_reads_plain_values_and_refuses_the_rest(tmp_path: Path) -> None:
    path = tmp_path / 'ann.pkl'
    boxes = np.arange(4.0)
    path.write_bytes(pickle.dumps({'metainfo': {}, 'data_list': [{'boxes': boxes}]}))
    (sample,) = BaseDataset(str(path), allow_pickle=False, data_prefix={})
    assert sample['boxes'].tolist() == [0, 1, 2, 3]
    path.write_bytes(
        pickle.dumps({'metainfo': {}, 'data_list': [{'where': Path('/a').parts, 'f': print}]})
    )
    with pytest.raises(pickle.UnpicklingError, match='print'):
        BaseDataset(str(path), allow_pickle=False, data_prefix={})
