"""Weights by their address."""

from typing import Any

import torch


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Any:
    """Download a file once and load it with :func:`torch.load`.

    Args:
        url: Address of the file.
        model_dir: Folder that keeps downloads; ``checkpoints`` in torch's hub folder by default.
        map_location: Where tensors go, as in :func:`torch.load`.
        progress: Show a progress bar on the terminal.
        check_hash: Compare the file with the digits of SHA-256 in its name (``name-<digits>.pth``).
        file_name: Name of the kept file; the one in the address by default.
        weights_only: Refuse anything but tensors and plain values. Without it a file runs code:
            load what you trust.
    """
    return torch.hub.load_state_dict_from_url(
        url,
        model_dir=model_dir,
        map_location=map_location,
        progress=progress,
        check_hash=check_hash,
        file_name=file_name,
        weights_only=weights_only,
    )
