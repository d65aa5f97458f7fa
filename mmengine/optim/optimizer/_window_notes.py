"""What an optimizer wrapper warns of when it accumulates gradients."""

from __future__ import annotations


def rest_alone(iteration: int, size: int) -> str:
    """A run goes on inside a window, without the gradients of its first batches."""
    return (
        f'Training continues at iteration {iteration}, inside a window of {size} batches, and no '
        'gradients of that window were restored. Its remaining batches are averaged separately.'
    )


def other_size(saved: int, size: int) -> str:
    """A state was saved inside a window of another size."""
    return (
        f'The state was saved inside a window of {saved} batches and is loaded for windows of '
        f'{size}; the gradients of the open window are dropped.'
    )


def batch_norm(size: int) -> str:
    """The model has BatchNorm layers."""
    return (
        f'Gradients are accumulated over {size} batches, but BatchNorm normalizes each batch '
        'separately, with the statistics of the small batch.'
    )
