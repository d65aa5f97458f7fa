"""What is a script and what is a config, and the words that a rank gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmengine.launch._target import is_script, words_of

TRAINING = ['module', 'mmengine', 'train']


@pytest.mark.parametrize(
    ('name', 'text', 'expected'),
    [
        ('a.py', 'if __name__ == "__main__":\n    main()\n', True),
        ('a.py', "if '__main__' == __name__:\n    main()\n", True),
        ('a.py', 'model = dict(type="Net")\n', False),
        ('a.py', 'text = "if __name__ == \'__main__\':"\n', False),
        ('a.py', 'if True\n', False),
        ('a.json', '{}', False),
    ],
)
def test_a_script_has_the_line_of_a_main_program(
    tmp_path: Path, name: str, text: str, expected: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert is_script(tmp_path / name) is expected


def test_a_config_is_trained_and_the_launcher_of_the_user_comes_last(tmp_path: Path) -> None:
    path = tmp_path / 'net.py'
    path.write_text('model = 1\n')
    words = words_of(str(path), ['--launcher', 'mpi'], None)
    assert words == [*TRAINING, str(path), '--launcher', 'pytorch', '--launcher', 'mpi']
    assert words_of(str(path), ['a'], True) == ['script', str(path), 'a']
