"""Every scheme by which a checkpoint can be named, and the steps from its file to a model."""

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from mmengine.runner import (
    CheckpointLoader,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
    load_checkpoint,
)
from mmengine.runner.checkpoint import (
    _get_mmengine_home,
    _load_checkpoint,
    _load_checkpoint_to_model,
    _load_checkpoint_with_prefix,
    _process_mmcls_checkpoint,
    load_from_http,
)

WEIGHTS = {'weight': torch.full((1, 1), 3.0), 'bias': torch.tensor([4.0])}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / 'net.pth'
    torch.save({'state_dict': WEIGHTS, 'meta': {'epoch': 3}}, path)
    return str(path)


@pytest.fixture
def requests() -> list[str]:
    return []


@pytest.fixture
def server(tmp_path: Path, requests: list[str], monkeypatch) -> Iterator[str]:
    """Serves ``tmp_path/served`` and notes what is asked for; downloads go to ``tmp_path/hub``."""
    served = tmp_path / 'served'
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    httpd = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Handler, directory=str(served))
    )
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    yield f'http://127.0.0.1:{httpd.server_port}'
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def _own_schemes(monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))


def _loaded(net: nn.Module) -> tuple[float, float]:
    return net.weight.item(), net.bias.item()


def test_a_local_path_is_read(file):
    net = nn.Linear(1, 1)
    checkpoint = load_checkpoint(net, file)
    assert _loaded(net) == (3.0, 4.0)
    assert checkpoint['meta'] == {'epoch': 3}


def test_a_path_object_is_read(file):
    assert _load_checkpoint(Path(file))['meta'] == {'epoch': 3}


def test_the_home_folder_is_understood(file, monkeypatch):
    monkeypatch.setenv('HOME', str(Path(file).parent))
    assert _load_checkpoint('~/net.pth')['meta'] == {'epoch': 3}


def test_a_bare_state_dict_is_read(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'bare.pth')
    net = nn.Linear(1, 1)
    load_checkpoint(net, str(tmp_path / 'bare.pth'), strict=True)
    assert _loaded(net) == (3.0, 4.0)


def test_a_wrapped_model_takes_plain_weights_and_a_plain_model_wrapped_ones(tmp_path, file):
    wrapped = nn.DataParallel(nn.Linear(1, 1))
    load_checkpoint(wrapped, file, strict=True)
    assert _loaded(wrapped.module) == (3.0, 4.0)
    torch.save({f'module.{key}': value for key, value in WEIGHTS.items()}, tmp_path / 'ddp.pth')
    net = nn.Linear(1, 1)
    load_checkpoint(net, str(tmp_path / 'ddp.pth'), strict=True)
    assert _loaded(net) == (3.0, 4.0)


def test_keys_are_revised_in_turn(tmp_path):
    torch.save({f'a.b.{key}': value for key, value in WEIGHTS.items()}, tmp_path / 'a.pth')
    net = nn.Linear(1, 1)
    revise = [(r'^a\.', ''), (r'^b\.', '')]
    load_checkpoint(net, str(tmp_path / 'a.pth'), strict=True, revise_keys=revise)
    assert _loaded(net) == (3.0, 4.0)


def test_an_opened_checkpoint_loads_into_a_model():
    net = nn.Linear(1, 1)
    checkpoint = {'state_dict': WEIGHTS}
    assert _load_checkpoint_to_model(net, checkpoint, strict=True) is checkpoint
    assert _loaded(net) == (3.0, 4.0)


def test_revised_keys_keep_the_versions_of_modules(tmp_path):
    class Versioned(nn.Linear):
        _version = 5
        seen = None

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
            self.seen = local_metadata.get('version')
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    torch.save({'state_dict': Versioned(1, 1).state_dict()}, tmp_path / 'v.pth')
    net = Versioned(1, 1)
    load_checkpoint(net, str(tmp_path / 'v.pth'))
    assert net.seen == 5


@pytest.mark.parametrize(
    ('content', 'found'),
    [
        ([1], 'a list'),
        ({'state_dict': [1]}, 'a list'),
        (nn.Linear(1, 1), 'the object torch.nn.modules.linear.Linear'),
        (torch.ones(1), 'a Tensor'),
    ],
    ids=['list', 'list inside', 'module', 'tensor'],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path, content, found, capsys):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(RuntimeError, match=rf'x\.pth contains {found} instead of a mapping'):
        load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'x.pth'))
    with pytest.raises(RuntimeError, match=rf'x\.pth contains {found} instead of a mapping'):
        _load_checkpoint_with_prefix('a', str(tmp_path / 'x.pth'))


def test_the_part_under_a_prefix_is_taken(tmp_path):
    torch.save({'state_dict': {'a.w': 1, 'ab.w': 2, 'c': 3}}, tmp_path / 'p.pth')
    name = str(tmp_path / 'p.pth')
    assert _load_checkpoint_with_prefix('a', name) == {'w': 1}
    assert _load_checkpoint_with_prefix('ab.', name) == {'w': 2}
    with pytest.raises(AssertionError, match=r"no weights under 'd\.'.*\['a', 'ab', 'c'\]"):
        _load_checkpoint_with_prefix('d', name)


def test_the_backbone_of_a_classifier_is_taken():
    processed = _process_mmcls_checkpoint({'state_dict': {'backbone.a': 1, 'head.b': 2}})
    assert dict(processed['state_dict']) == {'a': 1}


def test_a_url_is_downloaded_once(file, server, requests, tmp_path):
    Path(file).rename(tmp_path / 'served' / 'net.pth')
    for _ in range(2):
        net = nn.Linear(1, 1)
        load_checkpoint(net, f'{server}/net.pth?x=1', map_location='cpu')
        assert _loaded(net) == (3.0, 4.0)
    assert len(requests) == 1
    assert (tmp_path / 'hub' / 'hub' / 'checkpoints' / 'net.pth').is_file()


def test_a_download_goes_to_the_given_folder(file, server, tmp_path):
    Path(file).rename(tmp_path / 'served' / 'net.pth')
    load_from_http(f'{server}/net.pth', model_dir=str(tmp_path / 'mine'))
    assert (tmp_path / 'mine' / 'net.pth').is_file()


def test_a_download_that_is_not_what_its_name_says_is_refused(file, server, tmp_path):
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    content = Path(file).read_bytes()
    (tmp_path / 'served' / f'net-{digest[:8]}.pth').write_bytes(content)
    assert _load_checkpoint(f'{server}/net-{digest[:8]}.pth')['meta'] == {'epoch': 3}
    (tmp_path / 'served' / 'net-00000000.pth').write_bytes(content)
    with pytest.raises(RuntimeError, match='SHA-256'):
        _load_checkpoint(f'{server}/net-00000000.pth')
    assert not (tmp_path / 'hub' / 'hub' / 'checkpoints' / 'net-00000000.pth').exists()


def test_a_url_that_is_not_there_is_an_error(server, requests):
    with pytest.raises(OSError, match='404'):
        _load_checkpoint(f'{server}/none.pth')


def test_a_table_in_the_home_folder_names_urls_and_files(file, server, tmp_path, monkeypatch):
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path / 'home'))
    home = Path(_get_mmengine_home())
    (home / 'own').mkdir()
    torch.save({'from': 'file'}, home / 'own' / 'a.pth')
    Path(file).rename(tmp_path / 'served' / 'net.pth')
    table = {'mine/file': 'own/a.pth', 'mine/url': f'{server}/net.pth'}
    (home / 'open_mmlab.json').write_text(json.dumps(table))
    assert _load_checkpoint('openmmlab://mine/file') == {'from': 'file'}
    assert _load_checkpoint('open-mmlab://mine/url')['meta'] == {'epoch': 3}
    with pytest.raises(KeyError, match=r'no model .*mine/fil.* under openmmlab://.*mine/file'):
        _load_checkpoint('openmmlab://mine/fil')


def test_a_name_that_changed_still_loads_and_says_the_new_one(file, tmp_path, monkeypatch):
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    old, new = next(iter(get_deprecated_model_names().items()))
    (tmp_path / 'open_mmlab.json').write_text(json.dumps({new: file}))
    with pytest.warns(DeprecationWarning, match=f'now called openmmlab://{new}'):
        assert _load_checkpoint(f'openmmlab://{old}')['meta'] == {'epoch': 3}


def test_the_home_folder_is_in_the_cache_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv('MMENGINE_HOME', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert _get_mmengine_home() == str(tmp_path / 'mmengine')
    assert (tmp_path / 'mmengine').is_dir()


def test_classifiers_are_read_from_their_table(file, server, tmp_path, monkeypatch):
    torch.save({'state_dict': {'backbone.a': torch.ones(1)}}, tmp_path / 'served' / 'c.pth')
    monkeypatch.setattr(
        'mmengine._checkpoint.loader.get_mmcls_models', lambda: {'c': f'{server}/c.pth'}
    )
    assert list(_load_checkpoint('mmcls://c')['state_dict']) == ['a']


@pytest.mark.parametrize('table', [get_external_models, get_mmcls_models])
def test_the_tables_that_are_shipped_name_urls(table, tmp_path, monkeypatch):
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    models = table()
    assert models
    assert all(url.startswith('https://') for url in models.values())
    models.clear()
    assert table()


def test_torchvision_is_asked_for_by_name_when_it_is_missing():
    pytest.importorskip('torch')
    try:
        import torchvision  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match='pip install torchvision'):
            get_torchvision_models()
    else:
        assert 'resnet50' in get_torchvision_models()


@pytest.mark.parametrize('scheme', ['torchvision', 'modelzoo'])
def test_torchvision_names_are_looked_up(file, server, tmp_path, monkeypatch, scheme):
    Path(file).rename(tmp_path / 'served' / 'net.pth')
    monkeypatch.setattr(
        'mmengine._checkpoint.loader.get_torchvision_models',
        lambda: {'resnet18': f'{server}/net.pth'},
    )
    if scheme == 'modelzoo':
        with pytest.warns(DeprecationWarning, match='old spelling'):
            checkpoint = _load_checkpoint('modelzoo://resnet18')
    else:
        checkpoint = _load_checkpoint('torchvision://resnet18')
    assert checkpoint['meta'] == {'epoch': 3}


@pytest.mark.parametrize('name', ['s3://b/a.pth', 'cluster:s3://b/a.pth', 'petrel://b/a.pth'])
def test_object_stores_are_read_through_their_backend(file, monkeypatch, name):
    asked = []

    def get(path):
        asked.append(path)
        return Path(file).read_bytes()

    monkeypatch.setattr('mmengine._checkpoint.loader.read_bytes', get)
    assert _load_checkpoint(name)['meta'] == {'epoch': 3}
    assert asked == [name]


def test_pavi_names_its_package():
    with pytest.raises(ImportError, match='need the `pavi` package'):
        _load_checkpoint('pavi://a')


@pytest.mark.usefixtures('_own_schemes')
class TestRegisteringSchemes:
    def test_a_function_reads_names_with_its_prefix(self):
        CheckpointLoader.register_scheme('mine://', lambda name, map_location: (name, map_location))
        assert CheckpointLoader.load_checkpoint('mine://a', 'cpu') == ('mine://a', 'cpu')

    def test_it_is_a_decorator_of_several_prefixes(self):
        @CheckpointLoader.register_scheme(['a://', 'b://'])
        def load(name, map_location):
            return name

        assert CheckpointLoader.load_checkpoint('b://x') == 'b://x'
        assert load('direct', None) == 'direct'

    def test_a_prefix_may_be_a_regular_expression(self):
        CheckpointLoader.register_scheme(r'(\w+:)?x://', lambda name, map_location: 'x')
        assert CheckpointLoader.load_checkpoint('cluster:x://a') == 'x'

    def test_the_longest_fit_wins_whatever_the_order(self):
        CheckpointLoader.register_scheme('m://zoo/', lambda name, map_location: 'long')
        CheckpointLoader.register_scheme('m://', lambda name, map_location: 'short')
        assert CheckpointLoader.load_checkpoint('m://zoo/a') == 'long'
        assert CheckpointLoader.load_checkpoint('m://a') == 'short'

    def test_a_taken_prefix_needs_force(self):
        with pytest.raises(KeyError, match=r'already read by load_from_http; pass force=True'):
            CheckpointLoader.register_scheme('http://', print)
        CheckpointLoader.register_scheme('http://', lambda name, map_location: 'mine', force=True)
        assert CheckpointLoader.load_checkpoint('http://x') == 'mine'

    def test_nothing_is_registered_when_one_of_several_prefixes_is_taken(self):
        with pytest.raises(KeyError):
            CheckpointLoader.register_scheme(['new://', 'http://'], print)
        assert 'new://' not in CheckpointLoader._schemes
