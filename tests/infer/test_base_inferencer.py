"""What a call of an inferencer does, and where its model comes from."""

import contextlib
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.config import Config, ConfigDict
from mmengine.config._reading.packages import package_folder
from mmengine.infer import BaseInferencer
from mmengine.infer.infer import InferencerMeta, ModelType
from mmengine.model import BaseModel
from mmengine.registry import FUNCTIONS, INFERENCERS, MODELS, DefaultScope
from mmengine.testing._internal.model_zoo import served, write_package
from mmengine.visualization import Visualizer


class Doubler(BaseModel):
    """Doubles its inputs, as often as its weight says."""

    def __init__(self, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.batches = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.batches.append((mode, self.training, torch.is_grad_enabled(), len(inputs)))
        return [2 * float(item) * float(self.weight) for item in inputs]


def sum_collate(batch, start=0):
    return {'inputs': [sum(item['inputs'] for item in batch) + start]}


class Inferencer(BaseInferencer):
    """Returns predictions, and what visualize and postprocess were called with."""

    preprocess_kwargs = {'add'}
    forward_kwargs = {'times'}
    visualize_kwargs = {'show', 'colour'}
    postprocess_kwargs = {'digits'}

    def _init_pipeline(self, cfg):
        return lambda item: {'inputs': item}

    def preprocess(self, inputs, batch_size=1, add=0, **kwargs):
        return super().preprocess([item + add for item in inputs], batch_size, **kwargs)

    def forward(self, inputs, times=1, **kwargs):
        return [times * value for value in super().forward(inputs, **kwargs)]

    def visualize(self, inputs, preds, show=False, colour=None, **kwargs):
        return {'inputs': inputs, 'preds': list(preds), 'show': show, 'colour': colour}

    def postprocess(self, preds, visualization, return_datasample=False, digits=None, **kwargs):
        return {
            'predictions': preds,
            'visualization': visualization,
            'datasamples': return_datasample,
            'digits': digits,
        }


@pytest.fixture(autouse=True)
def registered():
    MODELS.register_module(module=Doubler)
    FUNCTIONS.register_module(module=sum_collate)
    yield
    del MODELS.module_dict['Doubler'], FUNCTIONS.module_dict['sum_collate']


@pytest.fixture
def cfg():
    return Config({'model': {'type': 'Doubler'}})


@pytest.fixture
def inferencer(cfg):
    return Inferencer(cfg, device='cpu', show_progress=False)


# A call


def test_a_call_predicts_for_each_input_in_order(inferencer):
    result = inferencer([1.0, 2.0, 3.0], batch_size=2)
    assert result['predictions'] == [2.0, 4.0, 6.0]
    # two batches, in evaluation mode, without gradients
    assert inferencer.model.batches == [('predict', False, False, 2), ('predict', False, False, 1)]
    assert result['visualization']['inputs'] == [1.0, 2.0, 3.0]
    assert result['visualization']['preds'] == [2.0, 4.0, 6.0]


def test_a_single_input_is_a_list_of_one(inferencer):
    result = inferencer(torch.tensor(4.0))
    assert result['predictions'] == [8.0]
    assert result['visualization']['inputs'] == [torch.tensor(4.0)]


def test_keywords_go_to_the_steps_that_name_them(inferencer):
    result = inferencer([1.0], return_datasamples=True, add=1, times=5, show=True, digits=3)
    assert result['predictions'] == [5 * 2 * (1.0 + 1)]
    assert result['visualization']['show'] is True
    assert result['visualization']['colour'] is None
    assert (result['datasamples'], result['digits']) == (True, 3)


def test_unknown_keywords_are_refused_with_the_nearest(inferencer):
    with pytest.raises(ValueError, match=r"no argument 'colur'\. Did you mean 'colour'"):
        inferencer([1.0], colur='red')
    assert inferencer.model.batches == []


def test_keywords_are_sorted_by_step(inferencer):
    sorted_keywords = inferencer._dispatch_kwargs(digits=1, add=2, colour=3, times=4)
    assert sorted_keywords == ({'add': 2}, {'times': 4}, {'colour': 3}, {'digits': 1})


def test_chunks_hold_what_is_left_at_the_end(inferencer):
    assert list(inferencer._get_chunk_data(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(inferencer._get_chunk_data([], 2)) == []


def test_the_pipeline_works_while_the_model_does(cfg):
    started = threading.Event()

    class Overlapping(Inferencer):
        def _init_pipeline(self, cfg):
            def load(item):
                if item == 2.0:
                    started.set()
                return {'inputs': item}

            return load

        def forward(self, inputs, **kwargs):
            # the first batch is not done before the second one is being loaded
            assert started.wait(10)
            return super().forward(inputs, **kwargs)

    result = Overlapping(cfg, device='cpu', show_progress=False)([1.0, 2.0])
    assert result['predictions'] == [2.0, 4.0]


def test_errors_of_the_pipeline_reach_the_caller(cfg):
    class Broken(Inferencer):
        def _init_pipeline(self, cfg):
            return lambda item: {'inputs': 1 / item}

    with pytest.raises(ZeroDivisionError):
        Broken(cfg, device='cpu', show_progress=False)([1.0, 0.0])


def test_errors_of_the_model_end_the_loading(cfg):
    class Broken(Inferencer):
        def forward(self, inputs, **kwargs):
            raise RuntimeError('of the model')

    with pytest.raises(RuntimeError, match='of the model'):
        Broken(cfg, device='cpu', show_progress=False)([1.0] * 50)
    deadline = time.monotonic() + 60
    while any(thread.name == 'prefetch' for thread in threading.enumerate()):
        assert time.monotonic() < deadline


def test_progress_is_shown_unless_turned_off(cfg, capsys):
    Inferencer(cfg, device='cpu')([1.0, 2.0])
    assert 'Inference' in capsys.readouterr().out
    Inferencer(cfg, device='cpu', show_progress=False)([1.0])
    assert 'Inference' not in capsys.readouterr().out


# Inputs


def test_a_folder_is_its_files_by_name(inferencer, tmp_path):
    for name in ('b.png', 'a.png', 'inside/c.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = [str(tmp_path / 'a.png'), str(tmp_path / 'b.png')]
    assert inferencer._inputs_to_list(str(tmp_path)) == files
    assert inferencer._inputs_to_list(tmp_path) == files


@pytest.mark.parametrize(
    'item', ['a.png', 'http://127.0.0.1/a.png', np.zeros(2), torch.zeros(2), {'img': 'a.png'}]
)
def test_what_is_no_folder_and_no_list_is_one_input(inferencer, item):
    listed = inferencer._inputs_to_list(item)
    assert len(listed) == 1
    assert listed[0] is item


def test_tuples_become_lists(inferencer):
    assert inferencer._inputs_to_list(('a', 'b')) == ['a', 'b']


# Where the model comes from


@pytest.mark.parametrize('kind', [Config, ConfigDict, dict])
def test_the_model_may_be_a_config(kind):
    inferencer = Inferencer(kind({'model': {'type': 'Doubler'}}), device='cpu')
    assert isinstance(inferencer.model, Doubler)
    assert isinstance(inferencer.cfg, Config)
    assert inferencer.model.cfg is inferencer.cfg
    assert not inferencer.model.training


def test_the_model_may_be_a_config_file(tmp_path):
    file = tmp_path / 'cfg.py'
    file.write_text("default_scope = 'mmengine'\nmodel = dict(type='Doubler')\n")
    inferencer = Inferencer(str(file), device='cpu')
    assert isinstance(inferencer.model, Doubler)
    assert inferencer.scope == 'mmengine'


@pytest.fixture
def weights(tmp_path):
    """Weights 3, the facts of their data, and the config they were trained with."""
    path = tmp_path / 'weights.pth'
    config = "model = dict(type='Doubler')\nfrom_checkpoint = True\n"
    torch.save(
        {
            'state_dict': {'weight': torch.tensor(3.0)},
            'meta': {'cfg': config, 'dataset_meta': {'classes': ('cat',)}},
        },
        path,
    )
    return path


def test_weights_are_loaded(cfg, weights):
    inferencer = Inferencer(cfg, str(weights), device='cpu', show_progress=False)
    assert inferencer([1.0])['predictions'] == [6.0]
    assert inferencer.model.dataset_meta == {'classes': ('cat',)}


def test_without_a_model_the_config_of_the_weights_is_taken(weights):
    inferencer = Inferencer(weights=str(weights), device='cpu', show_progress=False)
    assert inferencer.cfg.from_checkpoint is True
    assert inferencer([1.0])['predictions'] == [6.0]


def test_a_config_in_the_message_hub_will_do(tmp_path):
    hub = {'runtime_info': {'cfg': "model = dict(type='Doubler')"}}
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': {'weight': torch.tensor(2.0)}, 'message_hub': hub}, path)
    inferencer = Inferencer(weights=str(path), device='cpu')
    assert inferencer.model.weight == 2.0


def test_weights_without_a_config_need_a_model(tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='holds no config'):
        Inferencer(weights=str(tmp_path / 'weights.pth'))


def test_missing_weights_are_told(cfg, caplog):
    with pytest.raises(FileNotFoundError):
        Inferencer(cfg, 'nowhere.pth', device='cpu')


def test_neither_model_nor_weights_is_refused():
    with pytest.raises(ValueError, match='pass the weights'):
        Inferencer()


def test_other_kinds_of_model_are_refused():
    with pytest.raises(TypeError, match='got int'):
        Inferencer(3)


def test_a_name_needs_a_scope():
    with pytest.raises(ValueError, match="scope='mmdet'"):
        Inferencer('resnet50')


def test_random_weights_are_warned_of(cfg, monkeypatch):
    messages = []
    monkeypatch.setattr(
        'mmengine.infer.infer.print_log', lambda message, **kwargs: messages.append(message)
    )
    Inferencer(cfg, device='cpu')
    assert 'Doubler has no weights' in messages[0]


def test_the_preprocessor_of_the_config_is_the_models():
    cfg = {
        'model': {'type': 'Doubler'},
        'data_preprocessor': {'type': 'BaseDataPreprocessor', 'non_blocking': True},
    }
    assert Inferencer(cfg, device='cpu').model.data_preprocessor._non_blocking is True


def test_collate_is_that_of_the_test_data(cfg):
    assert Inferencer(cfg, device='cpu').collate_fn is FUNCTIONS.get('pseudo_collate')
    cfg.test_dataloader = {'collate_fn': {'type': 'sum_collate', 'start': 10}}
    inferencer = Inferencer(cfg, device='cpu', show_progress=False)
    assert inferencer([1.0, 2.0], batch_size=2)['predictions'] == [2 * (1 + 2 + 10)]


def test_visualizers_have_names_of_their_own(cfg, weights):
    assert Inferencer(cfg, device='cpu').visualizer is None
    cfg.visualizer = {'type': 'Visualizer'}
    first, second = (Inferencer(cfg, str(weights), device='cpu').visualizer for _ in range(2))
    assert isinstance(first, Visualizer)
    assert first.instance_name != second.instance_name
    assert first.dataset_meta == {'classes': ('cat',)}


def test_the_scope_is_current_only_while_the_inferencer_works(cfg):
    seen = []

    class Looking(Inferencer):
        def _init_pipeline(self, cfg):
            seen.append(DefaultScope.get_current_instance().scope_name)
            return super()._init_pipeline(cfg)

        def visualize(self, inputs, preds, **kwargs):
            seen.append(DefaultScope.get_current_instance().scope_name)

    inferencer = Looking(cfg, device='cpu', scope='mmengine', show_progress=False)
    inferencer([1.0])
    assert seen == ['mmengine', 'mmengine']
    assert DefaultScope.get_current_instance() is None


def test_the_current_scope_is_taken_when_none_is_given(cfg):
    with DefaultScope.overwrite_default_scope('mmengine'):
        assert Inferencer(cfg, device='cpu').scope == 'mmengine'


# The class


def test_a_keyword_belongs_to_one_step():
    with pytest.raises(ValueError, match="'a' in preprocess_kwargs and in visualize_kwargs"):

        class Both(Inferencer):
            preprocess_kwargs = {'a'}
            visualize_kwargs = {'a'}


def test_keywords_of_a_step_are_a_set():
    with pytest.raises(AssertionError, match='preprocess_kwargs is a set'):

        class Listed(Inferencer):
            preprocess_kwargs = ['a']


def test_subclasses_inherit_the_keywords_they_do_not_set():
    class Other(Inferencer):
        preprocess_kwargs = {'crop'}

    assert (Other.preprocess_kwargs, Other.forward_kwargs) == ({'crop'}, {'times'})
    assert type(Other) is InferencerMeta


def test_the_steps_that_differ_are_abstract():
    assert BaseInferencer.__abstractmethods__ == {'_init_pipeline', 'visualize', 'postprocess'}
    with pytest.raises(TypeError, match='abstract'):
        BaseInferencer({'model': {'type': 'Doubler'}})


def test_inferencers_are_built_from_the_registry(cfg):
    INFERENCERS.register_module(module=Inferencer)
    try:
        built = INFERENCERS.build({'type': 'Inferencer', 'model': cfg, 'device': 'cpu'})
    finally:
        del INFERENCERS.module_dict['Inferencer']
    assert isinstance(built, Inferencer)


def test_model_type_names_the_kinds_of_model():
    assert set(ModelType.__args__) == {dict, Config, ConfigDict, str}


def test_a_subclass_may_set_itself_up(cfg):
    class Own(Inferencer):
        def __init__(self, model):
            self.model = self._init_model(model, None, 'cpu')
            self.pipeline = self._init_pipeline(model)
            self.collate_fn = self._init_collate(model)
            self.show_progress = False

    assert Own(cfg)([1.0])['predictions'] == [2.0]


# Models by name


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `toyzoo` with two models in its index; weights over HTTP."""
    (tmp_path / 'served').mkdir()
    torch.save({'state_dict': {'weight': torch.tensor(5.0)}}, tmp_path / 'served' / 'toy.pth')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    package_folder.cache_clear()
    toy = {'Config': 'configs/toy/small.py'}
    with served(tmp_path / 'served') as url:
        small = {'Name': 'toy_small', 'Weights': f'{url}/toy.pth', 'Alias': ['tiny', 'Small-Toy']}
        write_package(
            tmp_path / 'site',
            'toyzoo',
            {'toy/small.py': "model = dict(type='Doubler')"},
            {
                'toy/metafile.yml': [{**toy, **small}, {**toy, 'Name': 'toy_bare'}],
                'toy/more.json': [{**toy, 'Name': 'big', 'Alias': 'large'}],
            },
        )
        monkeypatch.syspath_prepend(str(tmp_path / 'site'))
        yield 'toyzoo'
    package_folder.cache_clear()
    sys.modules.pop('toyzoo', None)


def test_models_are_listed_by_all_their_names(package):
    names = ['toy_small', 'tiny', 'Small-Toy', 'toy_bare', 'big', 'large']
    assert Inferencer.list_models(package) == names
    assert Inferencer.list_models(package, 'toy') == ['toy_small', 'toy_bare']
    with DefaultScope.overwrite_default_scope(package):
        assert Inferencer.list_models(patterns='.*arge') == ['large']


def test_listing_needs_a_scope_that_is_installed():
    with pytest.raises(ValueError, match='Say whose models'):
        Inferencer.list_models()
    with pytest.raises(ImportError, match='no_such_zoo'):
        Inferencer.list_models('no_such_zoo')


@pytest.mark.parametrize('name', ['toy_small', 'tiny', 'small-toy'])
def test_a_name_brings_config_and_published_weights(package, name):
    inferencer = Inferencer(name, device='cpu', scope=package, show_progress=False)
    assert inferencer([1.0])['predictions'] == [10.0]
    assert Path(inferencer.cfg.filename).name == 'small.py'


def test_weights_given_win_over_published_ones(package, weights):
    inferencer = Inferencer('tiny', str(weights), 'cpu', scope=package)
    assert inferencer.model.weight == 3.0


def test_unknown_names_are_refused_with_the_nearest(package):
    with pytest.raises(ValueError, match=r"toyzoo has no model 'toy_smal'.*'toy_small'"):
        Inferencer('toy_smal', scope=package)
    with pytest.raises(KeyError, match="no Weights for 'toy_bare'"):
        Inferencer('toy_bare', scope=package)


def test_the_index_lies_in_the_package_or_beside_it(package, tmp_path):
    folder = BaseInferencer._get_repo_or_mim_dir(package)
    assert Path(folder) == tmp_path / 'site' / 'toyzoo' / '.mim'
    assert len(list(BaseInferencer._get_models_from_metafile(folder))) == 3
    # a checkout: the index is beside the package
    for name in ('model-index.yml', 'configs'):
        (Path(folder) / name).rename(tmp_path / 'site' / name)
    assert BaseInferencer._get_repo_or_mim_dir(package) == str(tmp_path / 'site')


def test_a_package_without_an_index_is_told():
    with pytest.raises(FileNotFoundError, match='pytest has no model index'):
        BaseInferencer._get_repo_or_mim_dir('pytest')


class Pretrained(Doubler):
    def __init__(self, pretrained='by default', backbone=None, **kwargs):
        super().__init__(**kwargs)
        self.built_with = (pretrained, backbone)


@pytest.mark.parametrize('kind', [Config, dict])
def test_the_first_weights_of_a_training_are_not_loaded(cfg, kind):
    model = {'type': Pretrained, 'pretrained': 'x.pth', 'backbone': {'pretrained': 'y.pth'}}
    given = kind({**cfg, 'model': model})
    inferencer = Inferencer(given)
    # Only what the model itself takes: a part of it may need the argument.
    assert inferencer.model.built_with == ('by default', {'pretrained': 'y.pth'})
    assert 'pretrained' not in inferencer.cfg.model
    assert given['model']['pretrained'] == 'x.pth'


@pytest.mark.parametrize(
    'text',
    [
        "import os\nos.mkdir('witness')\nmodel = dict(type='Doubler')\n",
        "model = dict(type='Doubler', **{'x': __import__('os').mkdir('witness')})\n",
        "model = dict(type='Doubler')\ncustom_imports = dict(imports=['this'])\n",
        "[__import__('os').mkdir('witness') for _ in 'a']\nmodel = dict(type='Doubler')\n",
    ],
)
def test_the_config_of_the_weights_is_not_executed(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    torch.save({'state_dict': {}, 'meta': {'cfg': text}}, 'weights.pth')
    sys.modules.pop('this', None)
    with contextlib.suppress(TypeError, KeyError, ValueError):
        Inferencer(weights='weights.pth', device='cpu')
    assert not (tmp_path / 'witness').exists()
    assert 'this' not in sys.modules


@pytest.mark.parametrize(
    'kind',
    [
        'os.mkdir', 'torch.os.mkdir', 'builtins.eval', 'subprocess.Popen', 'pathlib.Path',
        'torch.multiprocessing.Process', 'mmengine.fileio.remove', 'torch.hub.load',
    ],
)  # fmt: skip
@pytest.mark.parametrize('place', ['model = {}', "model = dict(type='Doubler', inner=[{}])"])
def test_the_config_of_the_weights_cannot_choose_any_function(tmp_path, monkeypatch, kind, place):
    monkeypatch.chdir(tmp_path)
    text = place.format(f"dict(type='{kind}', path='witness')")
    torch.save({'state_dict': {}, 'meta': {'cfg': text}}, 'weights.pth')
    with pytest.raises(ValueError, match='is not built from a file'):
        Inferencer(weights='weights.pth', device='cpu')
    assert not (tmp_path / 'witness').exists()


def test_the_config_of_the_weights_may_name_classes_and_registered_functions(tmp_path):
    text = (
        "model = dict(type='Doubler')\n"
        "optim_wrapper = dict(optimizer=dict(type='torch.optim.SGD', lr=0.1))\n"
        "val_dataloader = dict(collate_fn=dict(type='mmengine.dataset.pseudo_collate'))\n"
        "other = dict(type='somescope.Name')\n"
    )
    weights = {'weight': torch.tensor(1.0)}
    torch.save({'state_dict': weights, 'meta': {'cfg': text}}, tmp_path / 'weights.pth')
    inferencer = Inferencer(weights=str(tmp_path / 'weights.pth'), device='cpu')
    assert inferencer.cfg.optim_wrapper.optimizer.lr == 0.1


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save({'state_dict': {'other': torch.ones(2)}}, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='none of the weights of Doubler'):
        Inferencer(dict(model=dict(type='Doubler')), str(tmp_path / 'weights.pth'), device='cpu')
