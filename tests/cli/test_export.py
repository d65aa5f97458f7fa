"""``mmengine export``: what a file computes, and what is refused."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmengine.cli.__main__ import main

CONFIG = """\
from handover_project import {model}, {data}
model = dict(type={model})
val_dataloader = dict(
    batch_size=4, collate_fn={collate!r}, dataset=dict(type={data}),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
"""
X = torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.5, 0.25], [7.0, 0.0], [-1.0, 1.0]])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a work dir that has weights: the scale 3."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'work_dirs' / 'mine').mkdir(parents=True)
    content = {'state_dict': {'scale': torch.tensor(3.0)}, 'meta': {}}
    torch.save(content, tmp_path / 'work_dirs' / 'mine' / 'best_score_epoch_3.pth')
    return tmp_path


def export(
    model: str, *words: str, data: str = 'Points', collate: str = 'default_collate', more: str = ''
) -> int:
    Path('mine.py').write_text(CONFIG.format(model=model, data=data, collate=collate) + more)
    return main(['export', 'mine.py', *words])


def loaded(path: str) -> Any:
    return torch.export.load(path).module()


def left(folder: str = '.') -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir() if path.name != '__pycache__')


def test_file_of_torch_computes_forward_for_any_batch_size(folder: Path, capsys: Any) -> None:
    assert export('Affine') == 0
    module = loaded('work_dirs/mine/best_score_epoch_3.pt2')
    for size in (1, 5):
        torch.testing.assert_close(module(X[:size]), 3 * X[:size] + 1)
    told = capsys.readouterr().out
    assert 'best_score_epoch_3.pth (the best of work_dirs/mine' in told
    assert 'Inputs           inputs: float32 [batch, 2]' in told
    assert 'Outputs          output: float32 [batch, 2]' in told
    assert 'Left out         labels: no output depends on it' in told
    assert 'batch size 1, 2, 3: largest difference 0 ' in told
    assert 'Wrote            work_dirs/mine/best_score_epoch_3.pt2' in told


def test_a_ready_model_has_the_names_of_its_module(folder: Path, capsys: Any) -> None:
    config = (
        "model = dict(type='Classifier', module=dict(type='handover_project.Bare'))\n"
        "val_dataloader = dict(dataset=dict(type='handover_project.Pairs'), batch_size=2)\n"
    )
    Path('mine.py').write_text(config)
    torch.save({'state_dict': {'inner.scale': torch.tensor(3.0)}}, 'a.pth')
    words = ['export', 'mine.py', '--checkpoint', 'a.pth', '--out', 'a.pt2']
    assert main([*words, '--dynamic', 'inputs:1']) == 0
    told = capsys.readouterr().out
    assert 'inputs: float32 [batch, inputs_1]' in told
    assert 'Left out         input_1: no output depends on it' in told
    long = torch.ones(2, 9)
    torch.testing.assert_close(loaded('a.pt2')(long), 3 * long)


def test_file_of_onnx_computes_forward_for_any_batch_size(folder: Path) -> None:
    runtime = pytest.importorskip('onnxruntime')
    assert export('Affine', '--out', 'made/model.onnx', '--opset', '18') == 0
    session = runtime.InferenceSession('made/model.onnx')
    assert [(one.name, one.shape) for one in session.get_inputs()] == [('inputs', ['batch', 2])]
    for size in (1, 5):
        (found,) = session.run(None, {'inputs': X[:size].numpy()})
        np.testing.assert_allclose(found, (3 * X[:size] + 1).numpy(), rtol=1e-6)
    assert left('made') == ['model.onnx']
    onnx = pytest.importorskip('onnx')
    assert onnx.load('made/model.onnx').opset_import[0].version == 18


def test_file_can_have_one_batch_size(folder: Path, capsys: Any) -> None:
    assert export('Affine', '--out', 'two.pt2', '--batch-size', '2') == 0
    module = loaded('two.pt2')
    torch.testing.assert_close(module(X[:2]), 3 * X[:2] + 1)
    with pytest.raises(Exception, match=r'shape\[0\]|size'):
        module(X)
    assert 'inputs: float32 [2, 2]' in capsys.readouterr().out


def test_inputs_that_matter_only_for_other_values_are_kept(folder: Path) -> None:
    """In the samples the mask is all ones."""
    assert export('Masked', '--out', 'a.pt2', data='MaskedPoints') == 0
    mask = torch.tensor([1.0, 0.0]).expand(5, 2)
    torch.testing.assert_close(loaded('a.pt2')(X, mask), (3 * X + 1) * mask)


def test_inputs_can_be_chosen(folder: Path, capsys: Any) -> None:
    assert export('Masked', '--out', 'a.pt2', '--inputs', 'inputs', data='MaskedPoints') == 0
    torch.testing.assert_close(loaded('a.pt2')(X), 3 * X + 1)
    assert export('Masked', '--inputs', 'labels', data='MaskedPoints') == 1
    assert 'cannot be called without inputs, mask of the batch' in capsys.readouterr().err
    assert export('Masked', '--inputs', 'inptus', data='MaskedPoints') == 2
    assert "no entry 'inptus'. Did you mean 'inputs'?" in capsys.readouterr().err


@pytest.mark.parametrize('collate', ['default_collate', 'pseudo_collate'])
def test_preprocessor_is_in_the_file_on_request(folder: Path, collate: str, capsys: Any) -> None:
    """The preprocessor of images makes one batch of a list."""
    more = "data_preprocessor = dict(type='handover_project.Halving')\n"
    if collate == 'pseudo_collate':
        more = "data_preprocessor = dict(type='handover_project.StackingHalves')\n"
    assert export('Affine', '--out', 'without.pt2', collate=collate, more=more) == 0
    told = capsys.readouterr().out
    assert 'which is not in the file; --with-preprocessor puts it there' in told
    torch.testing.assert_close(loaded('without.pt2')(X), 3 * X + 1)
    words = ['--out', 'with.pt2', '--with-preprocessor']
    assert export('Affine', *words, collate=collate, more=more) == 0
    torch.testing.assert_close(loaded('with.pt2')(X), 3 * X / 2 + 1)
    assert '--with-preprocessor puts' not in capsys.readouterr().out


def test_a_preprocessor_that_changes_nothing_is_not_mentioned(folder: Path, capsys: Any) -> None:
    more = "data_preprocessor = dict(type='handover_project.Passing')\n"
    assert export('Affine', '--out', 'a.pt2', more=more) == 0
    assert 'Note' not in capsys.readouterr().out


def test_part_is_exported_with_what_it_is_called_with(folder: Path, capsys: Any) -> None:
    words = ['--module', 'part', '--out', 'part.pt2']
    assert export('TwoParts', *words) == 0
    module = loaded('part.pt2')
    torch.testing.assert_close(module(X, torch.tensor(2.0)), 2 * X.sum(dim=1))
    assert 'x: float32 [batch, 2]' in capsys.readouterr().out
    assert export('TwoParts', '--module', 'idle') == 2
    assert "does not call 'idle'" in capsys.readouterr().err
    assert export('TwoParts', '--module', 'prat') == 2
    assert "has no module 'prat'. Did you mean 'part'?" in capsys.readouterr().err


def test_outputs_of_a_dict_keep_their_names(folder: Path, capsys: Any) -> None:
    assert export('TwoParts', '--out', 'a.pt2') == 0
    found = loaded('a.pt2')(X)
    torch.testing.assert_close(found, {'sum': 3 * X.sum(dim=1), 'inputs': X + 1})
    assert 'sum: float32 [batch]' in capsys.readouterr().out


def test_outputs_of_any_length_and_inputs_without_use_are_told(folder: Path, capsys: Any) -> None:
    assert export('Positive', '--out', 'a.pt2') == 0
    torch.testing.assert_close(loaded('a.pt2')(X), X[[0, 1, 2, 3]])
    told = capsys.readouterr().out
    assert 'Outputs          output: float32 [any, 2]' in told
    assert 'Left out         labels: no output depends on it' in told


def test_random_numbers_are_told(folder: Path, capsys: Any) -> None:
    assert export('Noisy', '--out', 'a.pt2') == 0
    assert 'draws random numbers, and so does the file' in capsys.readouterr().out
    torch.manual_seed(5)
    found = loaded('a.pt2')(X)
    torch.manual_seed(5)
    torch.testing.assert_close(found, 3 * (X + torch.randn(5, 2)) + 1)


def grown(height: int, width: int) -> torch.Tensor:
    return torch.arange(5.0 * height * width).view(5, 1, height, width)


@pytest.mark.parametrize('suffix', ['pt2', 'onnx'])
def test_sizes_that_are_freed_may_vary(suffix: str, folder: Path, capsys: Any) -> None:
    words = ['--out', f'a.{suffix}', '--dynamic', 'inputs:2,3']
    if suffix == 'onnx':
        pytest.importorskip('onnxruntime')
    assert export('Blurred', *words, data='Images') == 0
    told = capsys.readouterr().out
    assert 'inputs: float32 [batch, 1, inputs_2, inputs_3]' in told
    assert 'batch size 1, 2, 3, and inputs [3, 1, 8, 12]: largest difference' in told
    for height, width in ((4, 6), (3, 10)):
        images = grown(height, width)
        # The mean of pixels 0 and 1, of pixels 2 and 3 ...
        expected = 3 * (images[..., 0::2] + images[..., 1::2]) / 2
        torch.testing.assert_close(run(f'a.{suffix}', images), expected)


def run(file: str, images: torch.Tensor) -> torch.Tensor:
    if file.endswith('.pt2'):
        return loaded(file)(images)
    session = pytest.importorskip('onnxruntime').InferenceSession(file)
    return torch.from_numpy(session.run(None, {'inputs': images.numpy()})[0])


def test_sizes_vary_with_one_batch_size_too(folder: Path) -> None:
    words = ['--out', 'a.pt2', '--batch-size', '5', '--dynamic', 'inputs:2']
    assert export('Blurred', *words, data='Images') == 0
    assert loaded('a.pt2')(grown(7, 6)).shape == (5, 1, 7, 3)
    with pytest.raises(Exception, match=r'shape\[3\]|size'):
        loaded('a.pt2')(grown(7, 8))


def test_inputs_whose_sizes_vary_together_are_named_together(folder: Path, capsys: Any) -> None:
    words = ['--out', 'a.pt2', '--dynamic', 'inputs:2,3']
    assert export('Masking', *words, data='Images') == 1
    assert 'Masking.forward fails for inputs [3, 1, 8, 12]: RuntimeError: The size' in (
        capsys.readouterr().err
    )
    assert export('Masking', *words, 'mask:1,2', data='Images') == 0
    images = grown(3, 5)
    torch.testing.assert_close(loaded('a.pt2')(images, images[:, 0] > 3), 3 * images * (images > 3))


FIXED = {
    'constant': ('Rows', 'inputs:2', 1, 'dimension 2 of inputs cannot vary, because the model'),
    'weights': ('FixedSize', 'inputs:2,3', 1, 'FixedSize.forward fails for inputs [3, 1, 8, 12]'),
    'size 1': ('Blurred', 'inputs:1', 1, 'A size of 1 cannot vary'),
    'batch': ('Blurred', 'inputs:0', 2, 'dimensions from 1 to 3 may vary besides the batch size'),
    'no such dimension': ('Blurred', 'inputs:4', 2, 'shape (3, 1, 4, 6), so dimensions from 1'),
    'no such input': ('Blurred', 'input:2', 2, "no input 'input' with sizes that could vary. Did"),
}


@pytest.mark.parametrize('name', FIXED)
def test_a_size_that_cannot_vary_is_told(name: str, folder: Path, capsys: Any) -> None:
    model, dims, code, message = FIXED[name]
    assert export(model, '--out', 'a.pt2', '--dynamic', dims, data='Images') == code
    told = capsys.readouterr().err
    assert message in told
    assert 'Traceback' not in told
    assert left() == ['mine.py', 'work_dirs']


def test_dimensions_are_numbers(folder: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(['export', 'mine.py', '--dynamic', 'inputs'])
    assert "as in inputs:2,3, got 'inputs'" in capsys.readouterr().err


@pytest.mark.parametrize(('opset', 'message'), [('3', 'the earliest'), ('99', 'the latest')])
def test_the_file_has_the_operators_that_were_asked_for(
    opset: str, message: str, folder: Path, capsys: Any
) -> None:
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    assert export('Affine', '--out', 'a.onnx', '--opset', opset) == 1
    told = capsys.readouterr().err
    assert f'with operators of version {opset}: {message} one that it can write is' in told
    assert not Path('a.onnx').exists()
    possible = told.strip().removesuffix('.').rpartition(' ')[2]
    assert export('Affine', '--out', 'a.onnx', '--opset', possible) == 0
    (written,) = onnx.load('a.onnx').opset_import
    assert written.version == int(possible)


REFUSED = {
    'Branching': ('it decides by the values of a tensor', 'handover_project.py:'),
    'FixedBatch': ('its batch size cannot vary', '--batch-size N'),
    'OnlyThree': ('OnlyThree.forward fails for a batch of 2: RuntimeError', '--batch-size N'),
    'Exporting': ('differs from the output of Exporting.forward', '0.5 at most'),
    'Counting': ('returns something else each time', 'change its own attributes'),
    'OfElements': ('OfElements.forward returns a BaseDataElement', 'a tuple, list or dict'),
}


@pytest.mark.parametrize('model', REFUSED)
def test_nothing_is_written_if_the_file_would_not_be_the_model(
    model: str, folder: Path, capsys: Any
) -> None:
    Path('a.pt2').write_text('an earlier file')
    assert export(model, '--out', 'a.pt2') == 1
    told = capsys.readouterr().err
    for part in REFUSED[model]:
        assert part in told
    assert 'Traceback' not in told
    assert len(told.splitlines()) == 1, 'torch prints its program'
    assert Path('a.pt2').read_text() == 'an earlier file'
    assert left() == ['a.pt2', 'mine.py', 'work_dirs']


def test_model_of_one_batch_size_is_exported_for_that_size(folder: Path) -> None:
    assert export('FixedBatch', '--out', 'a.pt2', '--batch-size', '3') == 0
    torch.testing.assert_close(loaded('a.pt2')(X[:3]), 3 * X[:3])


def test_a_model_that_fails_for_other_batch_sizes_is_too(folder: Path, capsys: Any) -> None:
    assert export('OnlyThree', '--out', 'a.pt2', '--batch-size', '3') == 0
    torch.testing.assert_close(loaded('a.pt2')(X[:3]), 3 * X[:3] + 1)
    assert export('OnlyThree', '--batch-size', '4') == 1
    told = capsys.readouterr().err
    assert 'OnlyThree.forward fails for a batch of 4: RuntimeError' in told
    assert 'Traceback' not in told


def test_a_larger_difference_can_be_allowed(folder: Path) -> None:
    assert export('Exporting', '--out', 'a.pt2', '--tolerance', '0.5') == 0


def test_random_numbers_cannot_be_compared_in_onnx(folder: Path, capsys: Any) -> None:
    pytest.importorskip('onnxruntime')
    assert export('Noisy', '--format', 'onnx') == 1
    assert '--module, or use --format torch' in capsys.readouterr().err


def test_a_missing_package_is_told(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == 'onnxscript' else find(name)
    )
    assert export('Affine', '--out', 'a.onnx') == 2
    assert "needs onnxscript: pip install 'mmengine[onnx]'" in capsys.readouterr().err


def test_weights_of_another_model_are_refused(folder: Path, capsys: Any) -> None:
    torch.save({'state_dict': {'other': torch.ones(2)}}, 'other.pth')
    assert export('Affine', '--checkpoint', 'other.pth') == 2
    assert 'The checkpoint has none of the weights of Affine' in capsys.readouterr().err


MISTAKES = {
    'another suffix': (['--out', 'a.pth'], 'ends in .pt2 for torch, .onnx for onnx; got a.pth'),
    'two formats': (['--out', 'a.pt2', '--format', 'onnx'], 'got a.pt2'),
    'a folder': (['--out', 'folder.pt2'], 'folder.pt2 is a folder'),
    'in a file': (['--out', 'mine.py/a.pt2'], 'This is not a folder'),
    'opset of torch': (['--opset', '18'], 'Only ONNX has an opset'),
    'no checkpoint': (['--work-dir', 'gone'], 'the work dir gone does not exist'),
    'no data': (['--cfg-options', 'val_dataloader=None'], 'has no test_dataloader, val_dataloader'),
    'both': (['--module', 'part', '--with-preprocessor'], 'comes before the model'),
    'no batch': (['--batch-size', '0'], 'batch_size should be a positive integer'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes_are_told_in_a_sentence(mistake: str, folder: Path, capsys: Any) -> None:
    Path('folder.pt2').mkdir()
    words, message = MISTAKES[mistake]
    assert export('Affine', *words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert 'Traceback' not in told
