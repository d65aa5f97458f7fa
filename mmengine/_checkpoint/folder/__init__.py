"""Checkpoints as folders: each rank writes its part of the tensors.

A folder has

- ``__<rank>_<n>.distcp`` and ``.metadata``: the tensors, as ``torch.distributed.checkpoint`` writes
  them, under keys such as ``state_dict.head.weight`` and ``optimizer.state.0.exp_avg``;
- ``state.pth``: everything else. In the place of each tensor above there is one on the meta device;
- ``whole.json``: the other files with their sizes and hashes. It is written last, before the folder
  gets its name, so that a folder with it is whole.

Folders that ``torch.distributed.checkpoint`` has written for another program have ``.metadata`` and
parts only; their weights can be loaded.
"""
