"""Workers of iterators that nobody closes."""

import gc

import pytest
import torch
from torch.utils.data import TensorDataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mmengine.dataset._sample_order import number_samples
from mmengine.runner import Runner


@pytest.mark.parametrize('is_persistent', [False, True])
def test_workers_of_an_iterator_in_a_reference_cycle_are_told_to_end(is_persistent, monkeypatch):
    """Over queues that are closed nothing is told, and torch waits 5 s for each worker."""
    end, are_open = _MultiProcessingDataLoaderIter._shutdown_workers, []

    def shutdown(iterator):
        are_open.extend(queue._close.still_active() for queue in iterator._index_queues)
        end(iterator)

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, '_shutdown_workers', shutdown)
    config = {
        'dataset': TensorDataset(torch.arange(12.0)), 'batch_size': 2, 'num_workers': 2,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'persistent_workers': is_persistent,
    }  # fmt: skip
    loader = Runner.build_dataloader(config, seed=1)
    number_samples(loader, 1)
    batches = iter(loader)
    next(batches)
    workers = list(batches._workers)
    batches.itself = batches
    gc.disable()  # only the collector frees it, and only when it is told to
    try:
        del batches, loader
        assert all(worker.is_alive() for worker in workers)
        gc.collect()
    finally:
        gc.enable()
    assert are_open[:2] == [True, True]
    assert [worker.exitcode for worker in workers] == [0, 0]
