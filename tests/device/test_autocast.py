import pytest
import torch

from mmengine.device import autocast, get_device


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_cpu_matrix_products_run_in_the_lower_precision(dtype: torch.dtype) -> None:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    with autocast('cpu', dtype=dtype):
        product = weight @ weight
    assert product.dtype == dtype
    # Small integers are exact in both formats: [[1, 2], [3, 4]] squared.
    assert product.tolist() == [[7.0, 10.0], [15.0, 22.0]]


def test_the_device_defaults_to_the_one_that_is_there() -> None:
    device = get_device()
    weight = torch.ones(2, 2, device=device)
    with autocast():
        lowered = (weight @ weight).dtype
    with torch.amp.autocast(device):
        assert lowered == (weight @ weight).dtype


def test_disabled_autocast_switches_an_outer_one_off() -> None:
    weight = torch.ones(2, 2)
    with autocast('cpu', dtype=torch.bfloat16), autocast('cpu', enabled=False):
        assert (weight @ weight).dtype == torch.float32


def test_cache_can_be_switched_off() -> None:
    with autocast('cpu', cache_enabled=False):
        assert not torch.is_autocast_cache_enabled()
    assert torch.is_autocast_cache_enabled()


def test_it_decorates_a_function() -> None:
    @autocast('cpu', dtype=torch.bfloat16)
    def product(weight: torch.Tensor) -> torch.Tensor:
        return weight @ weight

    assert product(torch.ones(2, 2)).dtype == torch.bfloat16


def test_gradients_come_back_in_float32() -> None:
    weight = torch.ones(2, 2, requires_grad=True)
    with autocast('cpu', dtype=torch.bfloat16):
        loss = (weight @ weight).sum()
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    # d/dW of sum(W @ W) at ones: each entry is 2 (row sums) + 2 (column sums).
    assert weight.grad.tolist() == [[4.0, 4.0], [4.0, 4.0]]


def test_the_precision_is_a_torch_dtype() -> None:
    with pytest.raises(TypeError, match=r"torch\.bfloat16, got 'bfloat16'"):
        autocast('cpu', dtype='bfloat16')  # type: ignore[arg-type]


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(RuntimeError):
        autocast('abacus')
