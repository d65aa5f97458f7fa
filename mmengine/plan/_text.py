"""A plan as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.plan._plan import Plan
from mmengine.utils._quantities import bytes_text, count_text, counted, time_text

_NOT_IN_TIME = 'Validations, checkpoints and waiting for data come on top.'


def plan_text(plan: Plan) -> str:
    """``plan`` for a terminal."""
    parts = [
        f'{plan.model}, {plan.strategy}, {plan.world_size} '
        f'{"rank" if plan.world_size == 1 else "ranks"}',
        _table(
            'Parameters by module', ['module', 'class', 'parameters', 'trained'], _modules(plan)
        ),
        _table(
            'Parameters by optimizer group',
            ['optimizer', 'settings', 'tensors', 'parameters'],
            _groups(plan),
        ),
        _length(plan),
        _schedule(plan),
        _table(
            'Memory of a rank', ['', 'at the peak', 'most of it'],
            [
                [kind, bytes_text(size), bytes_text(plan.most[kind])]
                for kind, size in plan.memory.items()
            ] + [['together', bytes_text(plan.peak_bytes), '']],
        ),
        _sent(plan),
        _times(plan),
        _fits(plan),
        '\n'.join(f'Note: {note}' for note in plan.notes),
    ]  # fmt: skip
    return '\n\n'.join(part for part in parts if part)


def _modules(plan: Plan) -> list[list[str]]:
    return [
        [row.name or '(model)', row.kind, f'{row.parameters:,}', f'{row.trained:,}']
        for row in plan.modules
    ]


def _groups(plan: Plan) -> list[list[str]]:
    rows = []
    for row in plan.groups:
        settings = ', '.join(f'{name} {_short(value)}' for name, value in row.settings.items())
        rows.append([row.optimizer, settings, f'{row.tensors:,}', f'{row.parameters:,}'])
    return rows


def _short(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value).replace(' ', '')


def _length(plan: Plan) -> str:
    length, saved = plan.length, plan.checkpoints
    counts = [
        (length.epochs, 'epoch'), (length.iterations, 'iteration'),
        (length.steps, 'optimizer step'), (length.samples, 'sample'),
    ]  # fmt: skip
    known = [counted(count, unit) for count, unit in counts if count is not None]
    batch = '' if length.batch_size is None else f' of {counted(length.batch_size, "sample")}'
    step = f'  a step has {counted(plan.batches_of_step, "batch")}{batch} on each rank'
    if length.samples_of_step is not None and plan.world_size > 1:
        step += f': {counted(length.samples_of_step, "sample")} of all ranks'
    lines = ['Length', f'  {", ".join(known) or "not known"}', step]
    if saved.written is None or saved.kept is None:
        lines.append(f'  checkpoints of {bytes_text(saved.bytes)} each')
    elif saved.written:
        lines.append(
            f'  {counted(saved.written, "checkpoint")} of {bytes_text(saved.bytes)}, of which '
            f'{saved.kept:,} are kept: {bytes_text(saved.kept * saved.bytes)}'
        )
    return '\n'.join(lines)


def _schedule(plan: Plan) -> str:
    schedule = plan.schedule
    if not schedule.iterations:
        return f'Schedule\n  {schedule.note}'
    names = list(schedule.values)
    rows = [
        [f'{schedule.iterations[at]:,}', *(f'{schedule.values[name][at]:.4g}' for name in names)]
        for at in schedule.rows()
    ]
    return _table('Schedule', ['iteration', *names], rows)


def _sent(plan: Plan) -> str:
    if not plan.sent:
        return 'Sent by a rank in a step: nothing'
    rows = [
        [
            row.kind, f'{row.count:,}',
            f'{counted(row.ranks, "rank")}{" of a machine" if row.is_in_node else ""}',
            bytes_text(row.payload), bytes_text(row.sent),
        ]
        for row in plan.sent
    ]  # fmt: skip
    rows.append(['together', '', '', '', bytes_text(sum(row.sent for row in plan.sent))])
    return _table('Sent by a rank in a step', ['', 'calls', 'over', 'tensors', 'sent'], rows)


def _times(plan: Plan) -> str:
    times = plan.times
    lines = [
        'Time',
        f'  a step: {count_text(plan.flops_of_step)}FLOP of a rank'
        + (f', {time_text(times.compute)}' if times.compute is not None else '')
        + (f'; messages {time_text(times.send)}' if times.send else ''),
    ]
    if times.step is not None:
        lines.append(f'  a step: {_range(times.step)}')
    if times.run is not None:
        lines.append(f'  the run: {_range(times.run)}. {_NOT_IN_TIME}')
    if times.step is None:
        missing = 'flops' if times.compute is None else 'bandwidth'
        lines.append(f'  give {missing} for the time of the run')
    return '\n'.join(lines)


def _range(both: tuple[float, float]) -> str:
    low, high = map(time_text, both)
    return low if low == high else f'{low} if all messages are sent meanwhile, {high} if none'


def _fits(plan: Plan) -> str:
    if plan.capacity is None:
        return ''
    need, capacity = plan.peak_bytes, plan.capacity
    if plan.fits:
        return f'It fits: {bytes_text(need)} of {bytes_text(capacity)}.'
    largest = max(plan.memory, key=plan.memory.__getitem__)
    return (
        f'It does not fit: {bytes_text(need)} of {bytes_text(capacity)}, '
        f'{bytes_text(need - capacity)} too much. The largest part: {largest}, '
        f'{bytes_text(plan.memory[largest])}. {_ADVICE.get(largest, _SHARD)}'
    )


_SHARD = "Shard it over more ranks with strategy='fsdp'."
_ADVICE = {
    'activations and temporary tensors': 'A smaller batch with more accumulation, '
    'activation_checkpointing or AmpOptimWrapper make it smaller.',
    'gathered parameters': 'Name smaller blocks in the strategy.',
    'gradient buckets': 'gradient_as_bucket_view=True in model_wrapper_cfg shares them with the '
    'gradients.',
    'batch': 'A smaller batch with more accumulation makes it smaller.',
}


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of texts to the left and of numbers to the right."""
    cells = [list(columns), *map(list, rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    numeric = [
        all(not row[index] or row[index][0].isdigit() for row in rows)
        for index in range(len(columns))
    ]
    lines = [title]
    for row in cells:
        aligned = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numeric, strict=True)
        ]
        lines.append(f'  {"  ".join(aligned)}'.rstrip())
    return '\n'.join(lines)
