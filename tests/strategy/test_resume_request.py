"""What a user may write as ``resume``."""

from pathlib import Path

import pytest

from mmengine.config import ConfigDict
from mmengine.strategy._resume_request import ResumeRequest, parse_resume


@pytest.mark.parametrize(
    ('given', 'source'),
    [
        (None, False),
        (False, False),
        ('', False),
        (True, True),
        ('auto', 'auto'),
        ('a/epoch_1.pth', 'a/epoch_1.pth'),
        (Path('a', 'epoch_1.pth'), 'a/epoch_1.pth'),
        ({}, True),
        ({'path': None}, True),
        ({'path': Path('a.pth')}, 'a.pth'),
        (ConfigDict(path='a.pth', schedule='config'), 'a.pth'),
    ],
)
def test_every_form_says_from_where(given, source):
    request = parse_resume(given)
    assert (request.source, request.enabled) == (source, bool(source))


def test_a_dict_sets_every_field():
    given = {
        'path': 'a.pth', 'schedule': 'checkpoint', 'optimizer': 'config', 'on_change': 'error',
        'again': True,
    }  # fmt: skip
    assert parse_resume(given) == ResumeRequest(
        True, 'a.pth', 'checkpoint', 'config', 'error', again=True
    )
    assert parse_resume({}) == ResumeRequest(True, None, None, None, 'warn', again=False)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'optimiser': 'config'}, "has 'optimiser', .* Did you mean 'optimizer'"),
        ({'schedule': 'ckeckpoint'}, "schedule='ckeckpoint'. Did you mean 'checkpoint'"),
        ({'on_change': 'raise'}, "on_change='raise'. It is 'warn' or 'error'"),
        ({'again': 'yes'}, "again='yes'. It is True or False"),
        ({'path': 3}, 'path=3. It is a path'),
    ],
)
def test_a_wrong_dict_is_refused_with_the_nearest_name(given, message):
    with pytest.raises(ValueError, match=message):
        parse_resume(given)


def test_another_type_is_refused():
    with pytest.raises(TypeError, match=r"True, False, 'auto', the path .*; got int"):
        parse_resume(1)
