"""What a config can name is built in every way there is of naming it, to the same class.

By its registered name, its import path or the class as ``type``; from a config file with imports;
and by a plain call.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import mmengine.registry as registries
from mmengine.config import Config
from mmengine.dataset import BaseDataset, DefaultSampler, pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.registry import Registry
from mmengine.runner import Runner

Arguments = dict[str, Any]


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)

    def forward(self, inputs: list[Tensor], mode: str = 'tensor') -> Any:
        output = self.layer(torch.stack(inputs))
        return {'loss': output.mean()} if mode == 'loss' else list(output)


class Samples(BaseDataset):
    METAINFO = {'classes': ('a', 'b')}

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{'inputs': torch.ones(2), 'label': i % 2} for i in range(4)]

    def get_cat_ids(self, idx: int) -> list[int]:
        return [self.get_data_info(idx)['label']]


@pytest.fixture(scope='module')
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(Net(), str(tmp_path_factory.mktemp('runner')), log_level='ERROR')


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of this one process."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9)


def loader() -> DataLoader[Any]:
    dataset = Samples()
    return DataLoader(dataset, 2, sampler=DefaultSampler(dataset), collate_fn=pseudo_collate)


def _schedules() -> dict[str, Arguments]:
    shapes: dict[str, Arguments] = {
        'Constant': {'factor': 0.5},
        'CosineAnnealing': {'T_max': 4},
        'CosineRestart': {'periods': [2, 2], 'restart_weights': [1.0, 0.5], 'eta_min': 0.0},
        'Exponential': {'gamma': 0.5},
        'Linear': {'start_factor': 0.5},
        'MultiStep': {'milestones': [1, 3]},
        'OneCycle': {'eta_max': 0.2, 'total_steps': 4},
        'Poly': {'power': 2.0},
        'ReduceOnPlateau': {},
        'Step': {'step_size': 2},
    }
    kinds: dict[str, Arguments] = {
        'LR': {},
        'Momentum': {},
        'ParamScheduler': {'param_name': 'lr'},
    }
    return {
        f'{shape}{kind}': {**arguments, **more}
        for shape, arguments in shapes.items()
        for kind, more in kinds.items()
        if (shape, kind) != ('OneCycle', 'Momentum')
    }


# Which arguments each class needs; those of names that are not here are none.
def arguments_of(registry: str, name: str, runner: Runner, folder: Path) -> Arguments:
    loops = {'runner': runner, 'dataloader': loader()}
    evaluated = {**loops, 'evaluator': Evaluator([])}
    by_name: dict[str, Callable[[], Arguments]] = {
        'DATASETS.ConcatDataset': lambda: {'datasets': [Samples(), Samples()]},
        'DATASETS.RepeatDataset': lambda: {'dataset': Samples(), 'times': 2},
        'DATASETS.ClassBalancedDataset': lambda: {'dataset': Samples(), 'oversample_thr': 0.1},
        'EVALUATOR.Evaluator': lambda: {'metrics': []},
        'HOOKS.EarlyStoppingHook': lambda: {'monitor': 'acc'},
        'HOOKS.PrepareTTAHook': lambda: {'tta_cfg': {'type': 'BaseTTAModel'}},
        'LOOPS.EpochBasedTrainLoop': lambda: {**loops, 'max_epochs': 1},
        'LOOPS.IterBasedTrainLoop': lambda: {**loops, 'max_iters': 1},
        'LOOPS.ValLoop': lambda: evaluated,
        'LOOPS.TestLoop': lambda: evaluated,
        'METRICS.DumpResults': lambda: {'out_file_path': str(folder / 'results.pkl')},
        'MODELS.AdaptedModel': lambda: {'module': Net()},
        'MODEL_WRAPPERS.ColossalAIModelWrapper': lambda: {'model_wrapper': Net(), 'model': Net()},
        'MODEL_WRAPPERS.CollosalAIModelWrapper': lambda: {'model_wrapper': Net(), 'model': Net()},
        'MODEL_WRAPPERS.MMDeepSpeedEngineWrapper': lambda: {'model': Net()},
        'WEIGHT_INITIALIZERS.Constant': lambda: {'val': 1.0, 'layer': 'Linear'},
        'WEIGHT_INITIALIZERS.Pretrained': lambda: {'checkpoint': 'weights.pth'},
        'RUNNERS.Runner': lambda: {'model': Net(), 'work_dir': str(folder), 'log_level': 'ERROR'},
        'OPTIM_WRAPPER_CONSTRUCTORS.DefaultOptimWrapperConstructor': lambda: {
            'optim_wrapper_cfg': {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}}
        },
    }
    by_name['RUNNERS.FlexibleRunner'] = by_name['RUNNERS.Runner']
    by_registry: dict[str, Callable[[], Arguments]] = {
        'DATA_SAMPLERS': lambda: {'dataset': Samples()},
        'MODELS': lambda: {'model': Net()} if 'Data' not in name else {},
        'MODEL_WRAPPERS': lambda: {'module': Net()},
        'OPTIMIZERS': lambda: {'params': [nn.Parameter(torch.ones(2, 2))], 'lr': 0.1},
        'OPTIM_WRAPPERS': lambda: {'optimizer': optimizer()},
        'PARAM_SCHEDULERS': lambda: {'optimizer': optimizer(), **_schedules()[name]},
        'STRATEGIES': lambda: {'work_dir': str(folder), 'log_kwargs': {'log_level': 'ERROR'}},
        # A visualizer made by its registry is one to be found again by its name.
        'VISUALIZERS': lambda: {'name': 'built_for_test'},
        'VISBACKENDS': lambda: {'save_dir': str(folder)},
        'WEIGHT_INITIALIZERS': lambda: {'layer': 'Linear'},
    }
    make = by_name.get(f'{registry}.{name}') or by_registry.get(registry) or dict
    return make()


# Classes that only raise here, and where that is tested.
ELSEWHERE = {
    'HOOKS.NPUProfilerHook': 'needs torch_npu: tests/hooks',
    'MODELS.BaseTTAModel': 'a base class',
    'METRICS.TorchMetric': 'it needs torchmetrics',
    'OPTIM_WRAPPERS.ApexOptimWrapper': 'needs apex: tests/optim/optimizer',
    'OPTIMIZERS.Optimizer': 'a base class',
    'STRATEGIES.ColossalAIStrategy': 'tests/strategy/test_large_model_strategies.py',
    'STRATEGIES.DeepSpeedStrategy': 'needs deepspeed: tests/strategy/test_deepspeed.py',
    'STRATEGIES.FSDPStrategy': 'tests/strategy/test_large_model_strategies.py',
    'STRATEGIES.SeparateStrategy': 'tests/strategy/test_separate_strategy.py',
    'STRATEGIES.DDPStrategy': 'needs a launcher: tests/strategy',
}


def registered() -> list[str]:
    names = []
    for name, registry in vars(registries).items():
        if isinstance(registry, Registry):
            registry.import_from_location()
            names += [
                f'{name}.{key}'
                for key, value in registry.module_dict.items()
                if isinstance(value, type) and value.__module__.startswith(('mmengine.', 'torch.'))
            ]
    return sorted({*names, 'MODEL_WRAPPERS.MMFullyShardedDataParallel'} - ELSEWHERE.keys())


def lazily(cls: type, key: str, folder: Path) -> Any:
    """The entry of a config file that imports the class."""
    file = folder / 'lazy_config.py'
    file.write_text(
        f'from {cls.__module__} import {cls.__name__}\n\nitem = dict({key}={cls.__name__})\n'
    )
    return Config.fromfile(file, lazy_import=True).item


@pytest.mark.filterwarnings('ignore::FutureWarning', 'ignore:FSDP is switching to use `NO_SHARD`')
@pytest.mark.parametrize('path', registered())
def test_every_way_of_naming_a_class_builds_it(
    path: str, runner: Runner, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    registry_name, name = path.split('.')
    if registry_name == 'MODEL_WRAPPERS':
        request.getfixturevalue('process_group')
    registry: Registry = getattr(registries, registry_name)
    cls: Any = registry.get(name)
    key = 'runner_type' if registry_name == 'RUNNERS' else 'type'

    def arguments() -> Arguments:
        return arguments_of(registry_name, name, runner, tmp_path)

    from_file = lazily(cls, key, tmp_path)
    from_file.update(arguments())
    made = {
        'name': registry.build({key: name, **arguments()}),
        'scope': registry.build({key: f'mmengine.{name}', **arguments()}),
        'path': registry.build({key: f'{cls.__module__}.{cls.__qualname__}', **arguments()}),
        'class': registry.build({key: cls, **arguments()}),
        'file': registry.build(from_file),
        'call': cls(**arguments()),
    }
    assert {way: type(built) for way, built in made.items()} == dict.fromkeys(made, cls)


@pytest.mark.parametrize('name', ['pseudo_collate', 'default_collate'])
def test_functions_are_found_by_name_and_path(name: str) -> None:
    found = registries.FUNCTIONS.get(name)
    assert found is registries.FUNCTIONS.get(f'mmengine.dataset.{name}')
    assert found([1, 2]) == ([1, 2] if name == 'pseudo_collate' else pytest.approx([1, 2]))


# What a project may count on finding, from the public description of the API.
PROMISED = {
    'DATASETS': 'ClassBalancedDataset ConcatDataset RepeatDataset',
    'DATA_SAMPLERS': 'DefaultSampler InfiniteSampler',
    'EVALUATOR': 'Evaluator',
    'FUNCTIONS': 'default_collate pseudo_collate',
    'HOOKS': 'CheckpointHook DistSamplerSeedHook EMAHook EarlyStoppingHook EmptyCacheHook '
    'IterTimerHook LoggerHook NPUProfilerHook NaiveVisualizationHook ParamSchedulerHook '
    'PrepareTTAHook ProfilerHook RuntimeInfoHook SyncBuffersHook',
    'LOG_PROCESSORS': 'LogProcessor',
    'LOOPS': 'EpochBasedTrainLoop IterBasedTrainLoop TestLoop ValLoop',
    'METRICS': 'DumpResults',
    'MODELS': 'BaseDataPreprocessor BaseTTAModel ExponentialMovingAverage ImgDataPreprocessor '
    'MomentumAnnealingEMA StochasticWeightAverage',
    'MODEL_WRAPPERS': 'DataParallel DistributedDataParallel MMDistributedDataParallel '
    'MMSeparateDistributedDataParallel MMFullyShardedDataParallel MMDeepSpeedEngineWrapper '
    'ColossalAIModelWrapper CollosalAIModelWrapper',
    'OPTIM_WRAPPERS': 'AmpOptimWrapper ApexOptimWrapper DeepSpeedOptimWrapper '
    'ColossalAIOptimWrapper OptimWrapper',
    'OPTIM_WRAPPER_CONSTRUCTORS': 'DefaultOptimWrapperConstructor',
    'PARAM_SCHEDULERS': ' '.join(_schedules()),
    'OPTIMIZERS': 'ASGD Adadelta Adagrad Adam AdamW Adamax LBFGS NAdam RAdam RMSprop Rprop SGD '
    'SparseAdam ZeroRedundancyOptimizer',
    'RUNNERS': 'Runner FlexibleRunner',
    'STRATEGIES': 'SingleDeviceStrategy DDPStrategy FSDPStrategy DeepSpeedStrategy '
    'ColossalAIStrategy',
    'VISBACKENDS': 'AimVisBackend ClearMLVisBackend DVCLiveVisBackend LocalVisBackend '
    'MLflowVisBackend NeptuneVisBackend TensorboardVisBackend WandbVisBackend',
    'VISUALIZERS': 'Visualizer',
    'WEIGHT_INITIALIZERS': 'Caffe2Xavier Constant Kaiming Normal Pretrained TruncNormal Uniform '
    'Xavier',
}


@pytest.mark.parametrize('registry', PROMISED)
def test_the_promised_names_are_registered(registry: str) -> None:
    found: Registry = getattr(registries, registry)
    assert [name for name in PROMISED[registry].split() if found.get(name) is None] == []
