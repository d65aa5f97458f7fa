import pytest

import mmengine
from mmengine.version import parse_version_info


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('1.2.3', (1, 2, 3)),
        ('1.2.3rc1', (1, 2, 3, 'rc1')),
        ('1.2', (1, 2)),
        ('1.2.3.dev0', (1, 2, 3)),
    ],
    ids=str,
)
def test_numbers_of_a_release(text: str, expected: tuple[object, ...]) -> None:
    assert parse_version_info(text) == expected


def test_text_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'latest'"):
        parse_version_info('latest')


def test_the_version_is_one_that_projects_accept() -> None:
    assert (0, 7, 1) <= mmengine.version_info < (1, 0, 0)
    assert '.'.join(map(str, mmengine.version_info)) == mmengine.__version__
