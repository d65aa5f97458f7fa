"""``mmengine predict``: which weights, which data, and what is written."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmengine import infer
from mmengine.cli.__main__ import main

CONFIG = """\
from handover_project import {model}, Points
model = dict(type={model})
test_dataloader = dict(
    batch_size=4, collate_fn='default_collate', dataset=dict(type=Points{pipeline}),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
test_cfg = dict()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a config and a work dir that has weights."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    (tmp_path / 'work_dirs' / 'mine').mkdir(parents=True)
    return tmp_path


def write_config(folder: Path, model: str = 'Affine', pipeline: str = '', more: str = '') -> None:
    pipeline = f', pipeline=[{pipeline}]' if pipeline else ''
    text = CONFIG.format(model=model, pipeline=pipeline) + more
    (folder / 'mine.py').write_text(text)


def save(name: str, scale: float) -> None:
    content = {'state_dict': {'scale': torch.tensor(scale)}, 'meta': {}}
    torch.save(content, Path('work_dirs', 'mine', name))


def predict(*words: str) -> int:
    return main(['predict', 'mine.py', '--device', 'cpu', *words])


def lines(folder: str = 'work_dirs/mine/predictions') -> list[Any]:
    text = Path(folder, 'predictions.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_test_data_are_predicted_in_the_order_of_the_dataset(folder: Path, capsys: Any) -> None:
    save('best_score_epoch_3.pth', 3.0)
    save('epoch_9.pth', 9.0)
    assert predict() == 0
    # 3 x + 1 for the points (i, -i)
    assert lines() == [
        {'index': i, 'prediction': {'point': [3.0 * i + 1, -3.0 * i + 1]}} for i in range(6)
    ]
    told = capsys.readouterr().out
    assert 'best_score_epoch_3.pth (the best of work_dirs/mine' in told
    assert 'Predictions      6 in' in told
    assert 'Wrote            work_dirs/mine/predictions/predictions.jsonl' in told


def test_last_weights_are_taken_where_there_are_no_best_ones(folder: Path, capsys: Any) -> None:
    save('epoch_1.pth', 1.0)
    save('epoch_2.pth', 2.0)
    Path('work_dirs/mine/last_checkpoint').write_text('work_dirs/mine/epoch_2.pth')
    assert predict('--out', 'here') == 0
    assert lines('here')[1]['prediction'] == {'point': [3.0, -1.0]}
    assert 'epoch_2.pth (the last of work_dirs/mine' in capsys.readouterr().out


@pytest.mark.parametrize('wanted', ['last', 'work_dirs/mine/epoch_9.pth'])
def test_other_weights_can_be_asked_for(folder: Path, wanted: str) -> None:
    save('best_score_epoch_3.pth', 3.0)
    save('epoch_9.pth', 9.0)
    Path('work_dirs/mine/last_checkpoint').write_text('work_dirs/mine/epoch_9.pth')
    assert predict('--checkpoint', wanted) == 0
    assert lines()[1]['prediction'] == {'point': [10.0, -8.0]}


def test_files_without_a_pipeline_are_samples(folder: Path, capsys: Any) -> None:
    save('epoch_1.pth', 2.0)
    Path('few').mkdir()
    np.save('few/b.npy', np.array([1.0, 2.0], dtype=np.float32))
    torch.save({'inputs': torch.tensor([3.0, 4.0])}, 'few/a.pt')
    Path('few/c.json').write_text('{"inputs": [5.0, 6.0]}')
    np.savez('d.npz', inputs=np.array([7.0, 8.0], dtype=np.float32))
    # Inputs may follow options.
    assert predict('few', '--batch-size', '3', '--out', 'here', 'd.npz') == 0
    assert lines('here') == [
        {'input': 'few/a.pt', 'prediction': {'point': [7.0, 9.0]}},
        {'input': 'few/b.npy', 'prediction': {'point': [3.0, 5.0]}},
        {'input': 'few/c.json', 'prediction': {'point': [11.0, 13.0]}},
        {'input': 'd.npz', 'prediction': {'point': [15.0, 17.0]}},
    ]
    assert 'Data             4 files' in capsys.readouterr().out


def test_fractions_of_a_file_get_the_precision_of_the_weights(folder: Path) -> None:
    """NumPy writes float64."""
    save('epoch_1.pth', 3.0)
    write_config(folder, model='Mixing')
    np.save('a.npy', np.array([1.0, -2.0]))
    np.savez('b.npz', inputs=np.array([0.1, 0.0]))
    assert predict('a.npy', 'b.npz', '--out', 'out') == 0
    # 3 x by a product of matrices, which takes one precision.
    assert [line['prediction'] for line in lines('out')] == [
        {'point': [3.0, -6.0]}, {'point': [0.3, 0.0]},
    ]  # fmt: skip


UNFIT = {
    'shape': (np.zeros(3, np.float32), 'inputs is float32 [3], but float32 [2] in the test data.'),
    'dtype': (np.zeros(2, np.uint8), 'inputs is uint8 [2], but float32 [2] in the test data.'),
}


@pytest.mark.parametrize('name', UNFIT)
def test_a_file_that_does_not_fit_the_model_is_named(name: str, folder: Path, capsys: Any) -> None:
    save('epoch_1.pth', 3.0)
    write_config(folder, model='Mixing')
    array, message = UNFIT[name]
    np.save('good.npy', np.zeros(2, np.float32))
    np.save('bad.npy', array)
    assert predict('good.npy', 'bad.npy') == 2
    told = capsys.readouterr().err
    assert f'bad.npy does not fit the model: {message} RuntimeError: ' in told
    assert 'Traceback' not in told
    assert not Path('work_dirs/mine/predictions/predictions.jsonl').exists()


def test_a_model_that_fails_for_a_usual_sample_keeps_its_traceback(folder: Path) -> None:
    save('epoch_1.pth', 3.0)
    write_config(folder, model='Failing')
    np.save('good.npy', np.zeros(2, np.float32))
    with pytest.raises(ZeroDivisionError):
        predict('good.npy')


def test_a_damaged_file_among_good_ones_is_named(folder: Path, capsys: Any) -> None:
    save('epoch_1.pth', 3.0)
    write_config(folder, pipeline="dict(type='handover_project.ReadNumber')")
    for name in ('1.png', 'damaged.png', '2.png'):
        Path(name).touch()
    assert predict('1.png', 'damaged.png', '2.png') == 2
    told = capsys.readouterr().err
    assert 'fails for damaged.png: ValueError: could not convert string to float' in told
    assert 'handover_project.py:' in told
    assert 'Traceback' not in told


def test_an_empty_dataset_is_told(folder: Path, capsys: Any) -> None:
    save('epoch_1.pth', 3.0)
    write_config(folder, more="test_dataloader['dataset']['length'] = 0\n")
    assert predict('--out', 'out') == 2
    assert 'nothing to predict on: test_dataloader of the config is empty' in (
        capsys.readouterr().err
    )
    assert not Path('out', 'predictions.jsonl').exists()


def test_files_pass_the_pipeline_of_the_test_data(folder: Path) -> None:
    write_config(folder, pipeline="dict(type='handover_project.ReadNumber', key='path')")
    save('epoch_1.pth', 2.0)
    Path('5.png').touch()
    assert predict('5.png', '--input-key', 'path', '--out', 'here') == 0
    assert lines('here') == [{'input': '5.png', 'prediction': {'point': [11.0, 1.0]}}]


def test_config_can_name_an_inferencer(folder: Path) -> None:
    write_config(folder, more="inferencer = dict(type='handover_project.NameReader')\n")
    save('epoch_1.pth', 2.0)
    Path('1234.txt').touch()
    assert predict('1234.txt', '--out', 'here') == 0
    assert lines('here') == [{'input': '1234.txt', 'prediction': 17.0}]  # 2 * 8 + 1


def test_several_test_sets_are_named(folder: Path) -> None:
    write_config(folder, more='test_dataloader = dict(a=test_dataloader, b=test_dataloader)\n')
    save('epoch_1.pth', 2.0)
    assert predict() == 0
    assert [(line['data'], line['index']) for line in lines()] == [
        (name, index) for name in 'ab' for index in range(6)
    ]


def test_weights_of_another_model_are_refused(folder: Path, capsys: Any) -> None:
    torch.save({'state_dict': {'other': torch.ones(2)}}, 'other.pth')
    assert predict('--checkpoint', 'other.pth') == 2
    assert 'The checkpoint has none of the weights of Affine' in capsys.readouterr().err
    assert not Path('work_dirs/mine/predictions').exists()


MISTAKES = {
    'no folder of the image': (['images'], 'images: There is no file or folder'),
    'an empty folder': (['empty'], 'The folder empty has no files'),
    'a picture without a pipeline': (['a.png'], 'the test data of the config have no pipeline'),
    'not an array': (['broken.npy'], 'broken.npy is not a readable .npy file'),
    'no device': (['--device', 'gpu'], "There is no device 'gpu'"),
    'no batch': (['--batch-size', '0'], 'batch_size should be a positive integer'),
    'no best weights': (['--checkpoint', 'best'], 'has no best checkpoint. It has epoch_1.pth'),
    'no checkpoint': (['--checkpoint', 'epoch_2.pth'], 'There is no checkpoint at epoch_2.pth'),
    'another work dir': (['--work-dir', 'gone'], 'the work dir gone does not exist. Train first'),
    'a misspelt option': (
        ['--cfg-options', 'test_dataloader.dataset.sizes=3'],
        "Points got an unexpected keyword argument 'sizes'",
    ),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes_are_told_in_a_sentence(mistake: str, folder: Path, capsys: Any) -> None:
    save('epoch_1.pth', 2.0)
    Path('empty').mkdir()
    Path('a.png').touch()
    Path('broken.npy').write_text('text')
    words, message = MISTAKES[mistake]
    assert predict(*words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert 'Traceback' not in told


def test_missing_test_data_are_told(folder: Path, capsys: Any) -> None:
    save('epoch_1.pth', 2.0)
    assert predict('--cfg-options', 'test_dataloader=None') == 2
    assert 'has no test_dataloader to predict on. Pass files' in capsys.readouterr().err


def test_weights_to_begin_with_are_not_taken_for_trained_ones(folder: Path, capsys: Any) -> None:
    write_config(folder, more="load_from = 'pretrained.pth'\n")
    assert predict() == 2
    told = capsys.readouterr().err
    assert 'has no checkpoint. Train first (mmengine train mine.py)' in told
    assert '--checkpoint pretrained.pth' in told


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        ('Bare', 'Bare has no test_step'),
        ('Total', "Total.forward(mode='predict') returned a Tensor, which is not one prediction "
         'for each of 4 samples'),
    ],
)  # fmt: skip
def test_models_that_do_not_predict_are_told(
    model: str, message: str, folder: Path, capsys: Any
) -> None:
    write_config(folder, model=model)
    save('epoch_1.pth', 2.0)
    Path('work_dirs/mine/predictions').mkdir()
    Path('work_dirs/mine/predictions/predictions.jsonl').write_text('{}\n')
    assert predict() == 2
    assert message in capsys.readouterr().err
    assert lines() == [{}], 'earlier predictions stay'


def test_dict_of_batches_is_taken_apart(folder: Path) -> None:
    write_config(folder, model='Columns')
    save('epoch_1.pth', 2.0)
    assert predict() == 0
    assert lines()[2] == {'index': 2, 'prediction': {'point': [5.0, -3.0], 'first': 5.0}}


def test_of_several_best_weights_the_first_is_taken(folder: Path) -> None:
    """The weights that were saved last are the second best here (``keep_best=2``)."""
    hub = {'runtime_info': {'best_ckpt': 'elsewhere/best_score_epoch_3.pth'}}
    for epoch in (3, 7):
        save(f'best_score_epoch_{epoch}.pth', float(epoch))
        os.utime(f'work_dirs/mine/best_score_epoch_{epoch}.pth', (epoch, epoch))
    path = 'work_dirs/mine/best_score_epoch_7.pth'
    torch.save({**torch.load(path, weights_only=True), 'message_hub': hub}, path)
    os.utime(path, (7, 7))
    assert predict() == 0
    assert lines()[1]['prediction'] == {'point': [4.0, -2.0]}


def test_random_numbers_come_from_the_seed_of_the_config(folder: Path) -> None:
    write_config(folder, model='Noisy', more='randomness = dict(seed=3)\n')
    save('epoch_1.pth', 2.0)
    before = torch.get_rng_state()
    first, second = (infer.predict('mine.py', device='cpu').values for _ in range(2))
    assert [one['point'].tolist() for one in first] == [one['point'].tolist() for one in second]
    assert torch.equal(torch.get_rng_state(), before)


def test_function_returns_the_predictions(folder: Path) -> None:
    save('epoch_1.pth', 2.0)
    found = infer.predict('mine.py', [torch.tensor([1.0, 2.0])], device='cpu')
    assert [one['point'].tolist() for one in found.values] == [[3.0, 5.0]]
    assert (found.count, found.file, found.model) == (1, None, 'Affine')
    whole = infer.predict('mine.py', device='cpu', batch_size=5)
    assert [one['point'][0].item() for one in whole.values] == [1, 3, 5, 7, 9, 11]
    assert not Path('work_dirs/mine/predictions').exists()
