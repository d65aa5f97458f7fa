import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmengine.registry import Registry

LATE = Registry('late', scope='deferred_test')


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / 'deferred_module.py').write_text(
        f'from {__name__} import LATE\n\n\n@LATE.register_module()\nclass Late:\n    pass\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    LATE.defer('Late', 'deferred_module')
    yield 'deferred_module'
    sys.modules.pop('deferred_module', None)
    LATE.module_dict.clear()


def test_a_module_is_imported_when_its_name_is_asked_for(module: str) -> None:
    assert LATE.get('Other') is None
    assert module not in sys.modules
    assert type(LATE.build({'type': 'Late'})).__name__ == 'Late'
    assert module in sys.modules


def test_children_ask_their_parent(module: str) -> None:
    child = Registry('late', parent=LATE, scope='deferred_child')
    assert child.get('Late').__name__ == 'Late'
    assert LATE.get('deferred_test.Late').__name__ == 'Late'
    LATE.children.clear()


def test_fsdp_is_not_imported_with_the_models() -> None:
    import subprocess

    code = (
        'import sys, mmengine.model; from mmengine.registry import MODEL_WRAPPERS; '
        "assert 'torch.distributed.fsdp' not in sys.modules; "
        "print(MODEL_WRAPPERS.get('MMFullyShardedDataParallel').__name__, "
        "'torch.distributed.fsdp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['MMFullyShardedDataParallel', 'True']
