import warnings

import pytest

from mmengine.utils import ArgumentError, deprecated_api_warning, deprecated_function


@deprecated_api_warning({'size': 'scale'}, cls_name='Resize')
def resize(scale: int = 1, keep: bool = False) -> tuple[int, bool]:
    return scale, keep


@deprecated_function('0.1', '0.3', 'use resize')
def shrink(by: int) -> int:
    """Make smaller.

    More text.
    """
    return -by


def test_an_old_argument_name_still_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match=r"'size' of Resize\.resize .* 'scale'"):
        assert resize(size=3, keep=True) == (3, True)  # type: ignore[call-arg]


def test_the_warning_points_at_the_caller() -> None:
    with pytest.warns(DeprecationWarning, match='size') as caught:
        resize(size=3)  # type: ignore[call-arg]
    assert caught[0].filename == __file__


def test_new_names_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert resize(4) == (4, False)


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(ArgumentError, match="Pass 'scale' only"):
        resize(size=3, scale=4)  # type: ignore[call-arg]


def test_a_deprecated_function_warns_and_returns_its_result() -> None:
    with pytest.warns(DeprecationWarning, match=r'shrink .* version 0\.1 .* 0\.3.*use resize'):
        assert shrink(2) == -2


def test_a_deprecated_function_says_so_in_its_docstring() -> None:
    assert shrink.__doc__ is not None
    lines = shrink.__doc__.splitlines()
    assert lines[0] == '.. deprecated:: 0.1'
    assert 'Make smaller.' in lines
    assert 'More text.' in lines
