"""Sharded checkpoints of four ranks are resumed by any number of ranks, with the same numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from fsdp_toy import Mean, Net, compare, config, loader, samples, seeded_net, trained

from mmengine._checkpoint.files import read_checkpoint
from mmengine._checkpoint.tools import convert, ls, rm, verify
from mmengine.hooks import CheckpointHook
from mmengine.registry import MODELS
from mmengine.runner import FlexibleRunner, Runner
from mmengine.testing._internal.distributed import run_distributed
from mmengine.utils.errors import ArgumentError

pytestmark = pytest.mark.distributed

ADAMW = {'type': 'AdamW', 'lr': 0.01}
# 12 is a multiple of 4, 3, 2 and 1 ranks; 72 samples are 6 iterations.
JOINED, SAMPLES = 12, 72
FSDP = {'type': 'FSDPStrategy', 'blocks': ['Block']}
EMA = [{'type': 'EMAHook', 'momentum': 0.25}]
SHARDED = {'format': 'sharded', 'async_save': True}
SAVING = {
    'checkpoint': {
        'type': 'CheckpointHook', 'by_epoch': False, 'interval': 2, 'max_keep_ckpts': 2,
        'save_last': False,
    }
}  # fmt: skip


def _arguments(folder: str, ranks: int, **more: Any) -> dict[str, Any]:
    data = {**loader(JOINED // ranks), 'dataset': samples()[:SAMPLES]}
    return config(folder, {'optimizer': ADAMW}, train_dataloader=data, custom_hooks=EMA, **more)


def _by_hand(momentum: float = 0.25) -> dict[str, Any]:
    """One process on the joined batches, in plain torch."""
    model, average = seeded_net(), seeded_net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=ADAMW['lr'])  # type: ignore[arg-type]  # a float
    data = torch.utils.data.default_collate(samples()[:SAMPLES])
    for start in range(0, SAMPLES, JOINED):
        optimizer.zero_grad()
        batch = {key: value[start : start + JOINED] for key, value in data.items()}
        model(**batch, mode='loss')['loss'].backward()
        optimizer.step()
        with torch.no_grad():
            for target, source in zip(average.parameters(), model.parameters(), strict=True):
                target.lerp_(source, momentum if start else 1.0)
    return {
        'model': model.state_dict(),
        'optimizer': optimizer.state_dict()['state'],
        'average': average.state_dict(),
    }


def _save(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    runner = Runner(
        **_arguments(f'{folder}/saved', world_size, default_hooks=SAVING),
        cfg={'strategy': FSDP, 'checkpoint': SHARDED},
    )
    found = trained(runner)
    replicas = {**FSDP, 'mesh': {'replicate': 2, 'shard': 2}}
    runner = Runner(
        **_arguments(f'{folder}/replicas', world_size, default_hooks=SAVING),
        cfg={'strategy': replicas, 'checkpoint': {'format': 'sharded'}},
    )
    runner.train()
    return found


def _resumed(folder: str, name: str, ranks: int, strategy: Any, **more: Any) -> dict[str, Any]:
    arguments = _arguments(
        f'{folder}/{name}_{ranks}', ranks, load_from=f'{folder}/saved/iter_4.pth', resume=True,
        **more,
    )  # fmt: skip
    runner = Runner(**arguments, cfg={'strategy': strategy, 'checkpoint': {'format': 'sharded'}})
    begun: list[tuple[int, int]] = []
    run_iter = runner.train_loop.run_iter

    def note(index: int, batch: Any) -> None:
        begun.append((runner.iter, float(batch['x'].sum())))
        run_iter(index, batch)

    runner.train_loop.run_iter = note
    found = trained(runner)
    found['begun'] = begun
    return found


def _resume(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    found = {
        name: _resumed(folder, name, world_size, strategy)
        for name, strategy in (('fsdp', FSDP), ('ddp', 'ddp'))
    }
    return found | (_stream(rank, folder) if world_size == 2 else {})


def _noting(method: Any, name: str, read: list[tuple[str, int]]) -> Any:
    def noting(self: Any, *args: Any) -> Any:
        value = method(self, *args)
        read.append((name, value.numel()))
        return value

    return noting


def _stream(rank: int, folder: str) -> dict[str, Any]:
    """Load plain weights into a model on the meta device, and note what a rank reads."""
    from mmengine._checkpoint._stored_tensor import StoredTensor

    MODELS.register_module(module=Net, force=True)
    read: list[tuple[str, int]] = []
    for name in ('whole', 'part'):
        setattr(StoredTensor, name, _noting(getattr(StoredTensor, name), name, read))
    found: dict[str, Any] = {}
    strategy = {**FSDP, 'meta_init': True, 'skip_init_weights': True}
    for source in ('plain.pth', 'one.safetensors', 'hf/model.safetensors.index.json', 'folder'):
        read.clear()
        arguments = _arguments(f'{folder}/load', 2, load_from=f'{folder}/{source}')
        made = FlexibleRunner(**{**arguments, 'model': {'type': 'Net'}}, strategy=strategy)
        found[source] = trained(made)
        found[f'read {source}'] = list(read)
    return found


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('sharded')
    torch.save(seeded_net().state_dict(), folder / 'plain.pth')
    convert(folder / 'plain.pth', folder / 'one.safetensors')
    convert(folder / 'plain.pth', folder / 'hf' / 'model.safetensors', shard_size=300)
    convert(folder / 'plain.pth', folder / 'folder')
    return folder


@pytest.fixture(scope='module')
def saved(folder: Path) -> list[dict[str, Any]]:
    return run_distributed(_save, 4, str(folder))


@pytest.fixture(scope='module')
def two(saved: Any, folder: Path) -> list[dict[str, Any]]:
    return run_distributed(_resume, 2, str(folder))


@pytest.fixture(scope='module')
def three(saved: Any, folder: Path) -> list[dict[str, Any]]:
    return run_distributed(_resume, 3, str(folder))


def _check(found: dict[str, Any], ranks: int, rank: int) -> None:
    compare(found, _by_hand())
    inputs = torch.utils.data.default_collate(samples()[:SAMPLES])['x']
    own = [inputs[start : start + JOINED][rank::ranks] for start in (4 * JOINED, 5 * JOINED)]
    assert [iteration for iteration, _ in found['begun']] == [4, 5]
    for (_, total), expected in zip(found['begun'], own, strict=True):
        assert total == pytest.approx(float(expected.sum()), abs=1e-5)


def test_four_ranks_each_write_a_part(saved: Any, folder: Path) -> None:
    for found in saved:
        compare(found, _by_hand())
    parts = sorted(os.listdir(folder / 'saved' / 'iter_6.pth'))
    # Of 5 rows the ranks have 2, 2, 1 and none.
    files = [f'__{rank}_0_0.distcp' for rank in range(3)]
    assert parts == ['.metadata', *files, 'state.pth', 'whole.json']
    content = read_checkpoint(folder / 'saved' / 'iter_6.pth')
    truth = _by_hand()
    for name, value in truth['average'].items():
        torch.testing.assert_close(content['state_dict'][name], value, atol=1e-6, rtol=1e-6)
        raw = content['ema_state_dict'][f'module.{name}']
        torch.testing.assert_close(raw, truth['model'][name], atol=1e-6, rtol=1e-6)


def test_replicas_write_each_part_once(saved: Any, folder: Path) -> None:
    content = read_checkpoint(folder / 'replicas' / 'iter_6.pth')
    for name, value in _by_hand()['average'].items():
        torch.testing.assert_close(content['state_dict'][name], value, atol=1e-6, rtol=1e-6)
    size = {one: sum(part.stat().st_size for part in (folder / one / 'iter_6.pth').glob('*.distcp'))
            for one in ('saved', 'replicas')}  # fmt: skip
    assert size['replicas'] <= size['saved']


def test_old_folders_are_removed_and_the_pointer_names_the_last(saved: Any, folder: Path) -> None:
    work_dir = folder / 'saved'
    assert sorted(path.name for path in work_dir.glob('iter_*')) == ['iter_4.pth', 'iter_6.pth']
    assert (work_dir / 'last_checkpoint').read_text().endswith('iter_6.pth')
    assert [one['fault'] for one in verify([work_dir])] == [None, None]
    assert not list(work_dir.glob('.*'))


@pytest.mark.parametrize('strategy', ['fsdp', 'ddp'])
@pytest.mark.parametrize('ranks', [2, 3])
def test_another_number_of_ranks_goes_on(
    ranks: int, strategy: str, request: pytest.FixtureRequest
) -> None:
    results = request.getfixturevalue({2: 'two', 3: 'three'}[ranks])
    for rank, found in enumerate(results):
        _check(found[strategy], ranks, rank)


@pytest.mark.parametrize('strategy', ['single', FSDP], ids=['single', 'fsdp'])
def test_one_process_goes_on_and_writes_a_folder(
    strategy: Any, saved: Any, folder: Path
) -> None:  # fmt: skip
    name = f'alone_{len(str(strategy))}'
    more = {'launcher': 'none', 'default_hooks': SAVING}
    _check(_resumed(str(folder), name, 1, strategy, **more), 1, 0)
    written = folder / f'{name}_1' / 'iter_6.pth'
    assert '__0_0_0.distcp' in os.listdir(written)
    expected = _by_hand()['average']
    for key, value in read_checkpoint(written)['state_dict'].items():
        torch.testing.assert_close(value, expected[key], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    'source', ['plain.pth', 'one.safetensors', 'hf/model.safetensors.index.json', 'folder']
)
def test_plain_weights_stream_into_a_sharded_meta_model(source: str, two: Any) -> None:
    for found in two:
        compare(found[source], _by_hand())
    if source == 'plain.pth':
        return  # mapped into memory by the system
    counts: list[int] = []
    for found in two:
        whole = [numel for how, numel in found[f'read {source}'] if how == 'whole']
        counts.append(sum(numel for how, numel in found[f'read {source}'] if how == 'part'))
        assert sum(whole) <= 1 * 3  # the buffer, for the model and its average
    # Together they read the 106 parameters once, and none of them reads all.
    assert sum(counts) == 106
    assert max(counts) < 106


def test_best_and_published_copies_of_folders(tmp_path: Path) -> None:
    """A run that is stopped after each epoch has the folders of the run that is not."""
    names: dict[str, Any] = {}
    for name, ends in (('once', [3]), ('stopped', [1, 2, 3])):
        for end in ends:
            hook = {
                'type': 'CheckpointHook', 'interval': 1, 'max_keep_ckpts': 1, 'save_best': 'mean',
                'rule': 'greater', 'published_keys': 'state_dict',
            }  # fmt: skip
            arguments = _arguments(
                str(tmp_path / name), 1, launcher='none', default_hooks={'checkpoint': hook},
                val_dataloader=loader(4), val_cfg={}, val_evaluator={'type': Mean},
                resume=True,
            )  # fmt: skip
            arguments['train_cfg'] = {'by_epoch': True, 'max_epochs': end}
            runner = Runner(**arguments, checkpoint=SHARDED)
            runner.train()
        work_dir = tmp_path / name
        (hook_of_run,) = (one for one in runner.hooks if isinstance(one, CheckpointHook))
        assert hook_of_run.async_save
        assert [one['fault'] for one in verify([work_dir])] == [None] * len(verify([work_dir]))
        published = list(work_dir.glob('epoch_3-*.pth'))
        assert len(published) == 1
        weights = torch.load(published[0], weights_only=True)['state_dict']
        names[name] = {
            'folders': sorted(one.name for one in work_dir.glob('*.pth') if one.is_dir()),
            'best': Path(runner.message_hub.get_info('best_ckpt')).name,
            'weights': weights,
        }
    assert names['once'].pop('weights').keys() == names['stopped'].pop('weights').keys()
    assert names['once'] == names['stopped']
    assert len(names['once']['folders']) == 2
    marks = {Path(one['path']).name: one['marks'] for one in ls(tmp_path / 'once')}
    assert marks['epoch_3.pth'] == ['last']
    assert marks[names['once']['best']] == ['best']
    with pytest.raises(ArgumentError, match='from which its run resumes'):
        rm([tmp_path / 'once' / 'epoch_3.pth'])
    rm([tmp_path / 'once' / 'epoch_3.pth'], force=True)
    assert not (tmp_path / 'once' / 'epoch_3.pth').exists()


@pytest.mark.parametrize(
    'where',
    [{'out_dir': 'memory://bucket/run'}, {'backend_args': {'backend': 'local'}}],
    ids=['url', 'backend'],
)
def test_folders_at_a_url_are_refused_before_the_first_step(
    tmp_path: Path, where: dict[str, Any]
) -> None:
    hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1, **where}}
    arguments = _arguments(str(tmp_path), 1, launcher='none', default_hooks=hooks)
    runner = Runner(**arguments, checkpoint=SHARDED)
    with pytest.raises(ArgumentError) as caught:
        runner.train()
    assert runner.iter == 0
    assert "checkpoint=dict(format='sharded')" in str(caught.value)
    assert "Use checkpoint=dict(format='file')" in str(caught.value)


def test_settings_of_another_meaning_are_left_alone(tmp_path: Path) -> None:
    for value in ('https://example.com/a.pth', {'type': 'CheckpointHook'}):
        arguments = _arguments(str(tmp_path), 1, launcher='none')
        runner = Runner(**arguments, cfg={'checkpoint': value})
        assert runner.checkpoint.format is None
    for wrong in ({'format': 'shard'}, {'formats': 'file'}, {'async_save': 'yes'}):
        with pytest.raises(ArgumentError, match='checkpoint has'):
            Runner(**_arguments(str(tmp_path), 1, launcher='none'), checkpoint=wrong)
