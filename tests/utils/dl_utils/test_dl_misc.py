import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.utils import ArgumentError
from mmengine.utils.dl_utils import (
    TORCH_VERSION,
    has_batch_norm,
    is_jit_tracing,
    is_norm,
    load_url,
    mmcv_full_available,
    parrots_wrapper,
    tensor2imgs,
    torch_meshgrid,
)


@pytest.mark.parametrize(
    ('layer', 'answer'),
    [
        (nn.BatchNorm2d(1), True),
        (nn.SyncBatchNorm(1), True),
        (nn.LayerNorm(1), True),
        (nn.GroupNorm(1, 1), True),
        (nn.InstanceNorm1d(1), True),
        (nn.Linear(1, 1), False),
        (nn.LocalResponseNorm(2), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_is_norm(layer: nn.Module, answer: bool) -> None:
    assert is_norm(layer) is answer


def test_is_norm_leaves_excluded_types_out() -> None:
    assert not is_norm(nn.BatchNorm2d(1), exclude=nn.BatchNorm2d)
    assert not is_norm(nn.BatchNorm2d(1), exclude=(nn.LayerNorm, nn.BatchNorm2d))
    assert is_norm(nn.BatchNorm2d(1), exclude=(nn.LayerNorm,))
    with pytest.raises(TypeError, match='exclude'):
        is_norm(nn.BatchNorm2d(1), exclude=3)  # type: ignore[arg-type]


def test_has_batch_norm_looks_into_the_model() -> None:
    assert has_batch_norm(nn.Sequential(nn.Sequential(nn.BatchNorm1d(1))))
    assert not has_batch_norm(nn.Sequential(nn.InstanceNorm1d(1), nn.LayerNorm(1)))


def test_mmcv_is_full_when_it_has_compiled_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ('mmcv', 'mmcv._ext'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    assert not mmcv_full_available()
    (tmp_path / 'mmcv' / '_ext.py').touch()
    sys.path_importer_cache.clear()
    assert mmcv_full_available()
    sys.modules.pop('mmcv', None)


def test_tensor2imgs_undoes_the_normalization() -> None:
    batch = torch.arange(24.0).view(2, 3, 2, 2)
    pictures = tensor2imgs(batch, mean=(1, 2, 3), std=(2, 2, 4), to_bgr=False)
    # Pixel (0, 0) of the first picture holds 0, 4, 8: 0*2+1, 4*2+2, 8*4+3.
    assert pictures[0][0, 0].tolist() == [1.0, 10.0, 35.0]
    assert [picture.shape for picture in pictures] == [(2, 2, 3)] * 2
    assert all(p.dtype == np.float32 and p.flags['C_CONTIGUOUS'] for p in pictures)


def test_tensor2imgs_turns_rgb_into_bgr() -> None:
    assert tensor2imgs(torch.arange(3.0).view(1, 3, 1, 1))[0].tolist() == [[[2.0, 1.0, 0.0]]]


def test_tensor2imgs_takes_grey_pictures() -> None:
    picture = tensor2imgs(torch.tensor([[[[0.5]]]]), mean=[1.0], std=[2.0], to_bgr=False)[0]
    assert picture.tolist() == [[[2.0]]]


@pytest.mark.parametrize(
    'arguments',
    [
        {'tensor': torch.ones(3, 2, 2)},
        {'tensor': torch.ones(1, 2, 2, 2)},
        {'tensor': np.ones((1, 3, 2, 2))},
        {'tensor': torch.ones(1, 1, 2, 2)},
        {'tensor': torch.ones(1, 3, 2, 2), 'mean': (1,)},
    ],
    ids=['no-batch', 'two-channels', 'array', 'grey-bgr', 'one-mean'],
)
def test_tensor2imgs_refuses_what_is_no_batch_of_pictures(arguments: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        tensor2imgs(**arguments)  # type: ignore[arg-type]


def test_meshgrid_runs_its_first_tensor_along_the_first_dim() -> None:
    rows, columns = torch_meshgrid(torch.arange(2), torch.arange(3))
    assert rows.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert columns.tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning', 'ignore::DeprecationWarning')
def test_is_jit_tracing_inside_a_trace_only() -> None:
    answers: list[bool] = []

    def function(x: torch.Tensor) -> torch.Tensor:
        answers.append(is_jit_tracing())
        return x + 1

    torch.jit.trace(function, torch.ones(1), check_trace=False)
    assert answers == [True]
    assert not is_jit_tracing()


def test_load_url_loads_downloads_and_keeps_the_file(tmp_path: Path) -> None:
    torch.save({'weight': torch.tensor([1.0, 2.0])}, tmp_path / 'source.pth')
    url = (tmp_path / 'source.pth').as_uri()
    loaded = load_url(url, model_dir=str(tmp_path / 'kept'), progress=False, weights_only=True)
    assert loaded['weight'].tolist() == [1.0, 2.0]
    (tmp_path / 'source.pth').unlink()
    again = load_url(url, model_dir=str(tmp_path / 'kept'), map_location='cpu', progress=False)
    assert again['weight'].tolist() == [1.0, 2.0]


def test_old_names_are_the_classes_of_torch() -> None:
    assert torch.__version__ == TORCH_VERSION
    assert parrots_wrapper.SyncBatchNorm is nn.SyncBatchNorm
    assert isinstance(nn.BatchNorm2d(1), parrots_wrapper._BatchNorm)
    assert isinstance(nn.InstanceNorm2d(1), parrots_wrapper._InstanceNorm)
    assert isinstance(nn.Conv2d(1, 1, 1), parrots_wrapper._get_conv())
    assert isinstance(nn.BatchNorm3d(1), parrots_wrapper._get_norm())
    assert isinstance(nn.AdaptiveMaxPool2d(1), parrots_wrapper._get_pool())
    assert parrots_wrapper._get_dataloader()[0] is torch.utils.data.DataLoader
    assert parrots_wrapper.get_build_config() == torch.__config__.show()
    assert parrots_wrapper.is_rocm_pytorch() == (torch.version.hip is not None)


@pytest.mark.filterwarnings('ignore')
def test_extension_builders_come_from_torch() -> None:
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

    assert parrots_wrapper._get_extension() == (BuildExtension, CppExtension, CUDAExtension)
