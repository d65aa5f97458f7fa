"""The base of inferencers: from a model's name and some images to predictions."""

from __future__ import annotations

import copy
import logging
import os
import re
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor, nn

from mmengine._checkpoint.loader import _load_checkpoint, _load_checkpoint_to_model
from mmengine.config import Config, ConfigDict
from mmengine.config._reading.packages import indexed_models, package_folder
from mmengine.device import get_device
from mmengine.fileio import get_file_backend
from mmengine.infer._prefetch import prefetched
from mmengine.infer._sources import drop_pretrained, is_folder, names_of, saved_config
from mmengine.logging import print_log
from mmengine.registry import VISUALIZERS, DefaultScope
from mmengine.registry.default_scope import current_scope_name
from mmengine.registry.registry import import_scope
from mmengine.runner._build import _build_collate
from mmengine.runner._model_collate import collate_of_model
from mmengine.runner._trained_model import build_described
from mmengine.utils.errors import ArgumentError, did_you_mean

# These are looked into by projects, as unions of typing.
InputType = Union[str, np.ndarray, Tensor]  # noqa: UP007
InputsType = Union[InputType, Sequence[InputType]]  # noqa: UP007
ImgType = Union[np.ndarray, Sequence[np.ndarray], Tensor, Sequence[Tensor]]  # noqa: UP007
ConfigType = Union[Config, ConfigDict]  # noqa: UP007
ModelType = Union[dict, Config, ConfigDict, str]  # type: ignore[type-arg]  # noqa: UP007

_ARGUMENT_SETS = ('preprocess_kwargs', 'forward_kwargs', 'visualize_kwargs', 'postprocess_kwargs')


class InferencerMeta(ABCMeta):
    """Checks, when an inferencer class is made, that each keyword belongs to one step."""

    def __init__(cls, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owner: dict[str, str] = {}
        for attribute in _ARGUMENT_SETS:
            names = getattr(cls, attribute)
            if not isinstance(names, set):
                raise ArgumentError(
                    f'{cls.__name__}.{attribute} is a set of argument names, got {names!r}.'
                )
            for name in names:
                if name in owner:
                    raise ArgumentError(
                        f'{cls.__name__} has the argument {name!r} in {owner[name]} and in '
                        f'{attribute}; a call could not pass it to one step.'
                    )
                owner[name] = attribute


class BaseInferencer(metaclass=InferencerMeta):
    """Base class of inferencers, which run a model on inputs: ``inferencer('image.jpg')``.

    A call does::

        inputs = a list of them: paths, URLs, arrays; a folder is its files
        for batch in preprocess(inputs, batch_size):     # in the background
            predictions += forward(batch)
        visualization = visualize(inputs, predictions)
        return postprocess(predictions, visualization)

    A subclass implements ``_init_pipeline``, :meth:`visualize` and :meth:`postprocess`, and names
    the keywords of its call by the step that takes them, in the four sets below.

    Args:
        model: A config, the path of one, or the name of a model in the model index of the package
            ``scope``, which also gives its weights. None takes the config that is saved in
            ``weights``.
        weights: Path or URL of the weights.
        device: Where the model runs; the best there is, when None.
        scope: Where names in the config are looked up first; the config's own, when None, or the
            current one.
        show_progress: Show a progress bar while the model runs.

    Raises:
        ValueError: If neither ``model`` nor ``weights`` is given, or no model has this name.
        TypeError: If ``model`` is of another kind.
    """

    preprocess_kwargs: set[str] = set()
    forward_kwargs: set[str] = set()
    visualize_kwargs: set[str] = set()
    postprocess_kwargs: set[str] = set()

    # For subclasses that do not call this constructor.
    scope: str | None = None
    show_progress: bool = True
    # The weights may be large, and may contain the config: read them once.
    _opened: tuple[str, Mapping[str, Any]] | None = None

    def __init__(
        self,
        model: ModelType | None = None,
        weights: str | None = None,
        device: str | None = None,
        scope: str | None = None,
        show_progress: bool = True,
    ) -> None:
        self.scope = scope or current_scope_name()
        cfg, weights = self._find_config(model, weights)
        drop_pretrained(cfg)
        if self.scope is None:
            self.scope = cfg.get('default_scope')
        with self._in_scope():
            self.model = self._init_model(cfg, weights, device or get_device())
            self._opened = None
            self.pipeline = self._init_pipeline(cfg)
            self.collate_fn = self._init_collate(cfg)
            self.visualizer = self._init_visualizer(cfg)
        dataset_meta = getattr(self.model, 'dataset_meta', None)
        if self.visualizer is not None and dataset_meta is not None:
            self.visualizer.dataset_meta = dataset_meta
        self.cfg = cfg
        self.show_progress = show_progress

    def __call__(
        self,
        inputs: InputsType,
        return_datasamples: bool = False,
        batch_size: int = 1,
        **kwargs: Any,
    ) -> Any:
        """Predict.

        Args:
            inputs: A path, URL or array, a list of them, or a folder, whose files are taken in
                the order of their names.
            return_datasamples: Handed to :meth:`postprocess`.
            batch_size: How many inputs the model gets at once.
            kwargs: Keywords of the steps, by the four sets of the class.

        Returns:
            What :meth:`postprocess` makes of it.

        Raises:
            ValueError: If no step has such a keyword.
        """
        for_preprocess, for_forward, for_visualize, for_postprocess = self._dispatch_kwargs(
            **kwargs
        )
        listed = self._inputs_to_list(inputs)
        batches = self.preprocess(listed, batch_size=batch_size, **for_preprocess)
        predictions: list[Any] = []
        with self._in_scope():
            for batch in self._tracked(prefetched(batches), len(listed), batch_size):
                predictions.extend(self.forward(batch, **for_forward))
            visualization = self.visualize(listed, predictions, **for_visualize)
            return self.postprocess(
                predictions, visualization, return_datasamples, **for_postprocess
            )

    # The steps

    def preprocess(self, inputs: Any, batch_size: int = 1, **kwargs: Any) -> Iterable[Any]:
        """The batches for :meth:`forward`: each input through the pipeline, collated.

        It is used up by a thread, while the model works on the batch before.

        Args:
            inputs: A list of inputs.
            batch_size: How many come together.
            kwargs: Those named in ``preprocess_kwargs``.
        """
        chunks = self._get_chunk_data(map(self.pipeline, inputs), batch_size)
        yield from map(self.collate_fn, chunks)

    def forward(self, inputs: dict[str, Any] | tuple[Any, ...], **kwargs: Any) -> Any:
        """The predictions for one batch, a list with one entry an input.

        Args:
            inputs: A batch from :meth:`preprocess`.
            kwargs: Those named in ``forward_kwargs``.
        """
        with torch.no_grad():
            return self.model.test_step(inputs)  # type: ignore[operator]  # a BaseModel

    @abstractmethod
    def visualize(self, inputs: list[Any], preds: Any, show: bool = False, **kwargs: Any) -> Any:
        """Pictures of the predictions, or None.

        Args:
            inputs: The inputs, as a list.
            preds: Predictions of all of them.
            show: Show them in a window.
            kwargs: Those named in ``visualize_kwargs``.
        """

    @abstractmethod
    def postprocess(
        self, preds: Any, visualization: Any, return_datasample: bool = False, **kwargs: Any
    ) -> Any:
        """What a call returns.

        Args:
            preds: Predictions of all inputs.
            visualization: What :meth:`visualize` returned.
            return_datasample: Return the predictions as they are, rather than as plain values.
            kwargs: Those named in ``postprocess_kwargs``.
        """

    # Setting up; subclasses override these steps

    def _find_config(
        self, model: ModelType | None, weights: str | None
    ) -> tuple[Config, str | None]:
        """The config that ``model`` selects, and the weights to load."""
        if isinstance(model, Config):
            return copy.deepcopy(model), weights  # it is changed below
        if isinstance(model, dict):
            return Config(copy.deepcopy(model)), weights
        if isinstance(model, str):
            if os.path.isfile(model):
                return Config.fromfile(model), weights
            cfg, published = self._load_model_from_metafile(model)
            return cfg, weights or published
        if model is not None:
            raise TypeError(
                'model is a config, the path of one or the name of a model, got '
                f'{type(model).__name__}.'
            )
        if weights is None:
            raise ArgumentError('Without a model, pass the weights: they hold a config.')
        self._opened = (weights, _load_checkpoint(weights, map_location='cpu'))
        return saved_config(self._opened[1], weights), weights

    def _init_model(self, cfg: ConfigType, weights: str | None, device: str = 'cpu') -> nn.Module:
        """Build the model, load its weights, and make it ready on the device.

        Args:
            cfg: The whole config.
            weights: Path or URL, or None for random ones.
            device: Where the model runs.
        """
        checkpoint: Mapping[str, Any] | None = None
        if weights is not None:
            if self._opened is not None and self._opened[0] == weights:
                checkpoint = self._opened[1]
            else:
                checkpoint = _load_checkpoint(weights, map_location='cpu')
        model: Any = build_described(cfg)
        model.cfg = cfg
        self._load_weights_to_model(model, checkpoint, cfg)
        model.to(device).eval()
        return model  # type: ignore[no-any-return]  # the registry's word

    def _load_weights_to_model(
        self, model: nn.Module, checkpoint: Mapping[str, Any] | None, cfg: ConfigType | None
    ) -> None:
        """Load the weights, and set the metainfo of the training data on the model.

        Args:
            model: Changed in place.
            checkpoint: What was read, or None.
            cfg: The whole config.
        """
        if checkpoint is None:
            print_log(
                f'{type(model).__name__} has no weights, so its predictions are random. Pass '
                'weights=...',
                logger='current',
                level=logging.WARNING,
            )
            return
        _load_checkpoint_to_model(model, checkpoint, must_fit=True)
        meta = checkpoint.get('meta') or {}
        if 'dataset_meta' in meta:
            model.dataset_meta = meta['dataset_meta']

    @abstractmethod
    def _init_pipeline(self, cfg: ConfigType) -> Callable[..., Any]:
        """The function that makes data for the model from one input.

        Args:
            cfg: The whole config.
        """

    def _init_collate(self, cfg: ConfigType) -> Callable[..., Any]:
        """The function that makes a batch of a list of data, by default the test data's.

        Args:
            cfg: The whole config.
        """
        loader = cfg.get('test_dataloader')
        named = loader.get('collate_fn') if isinstance(loader, Mapping) else None
        return _build_collate(named or collate_of_model(self.model))

    def _init_visualizer(self, cfg: ConfigType) -> Any:
        """The visualizer of the config, under its own name; None if the config has none.

        Args:
            cfg: The whole config.
        """
        described = cfg.get('visualizer')
        if described is None:
            return None
        # A name in use would return the visualizer of another inferencer.
        unique = f'{type(self).__name__}-{datetime.now():%Y%m%d_%H%M%S_%f}'
        return VISUALIZERS.build({'name': unique, **described})

    # Inputs

    def _inputs_to_list(self, inputs: Any) -> list[Any]:
        """The inputs as a list. A folder, of any backend that has folders, gives its files."""
        if isinstance(inputs, Path):
            inputs = str(inputs)
        if isinstance(inputs, str):
            backend = get_file_backend(inputs)
            if is_folder(backend, inputs):
                names = backend.list_dir_or_file(inputs, list_dir=False)
                return [backend.join_path(inputs, name) for name in sorted(names)]
        return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]

    def _get_chunk_data(self, inputs: Iterable[Any], chunk_size: int) -> Iterator[list[Any]]:
        """Lists of ``chunk_size`` inputs; the last one may be shorter."""
        chunk: list[Any] = []
        for item in inputs:
            chunk.append(item)
            if len(chunk) == chunk_size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _dispatch_kwargs(
        self, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The keywords of a call for preprocess, forward, visualize and postprocess.

        Raises:
            ValueError: If a keyword is for none of them.
        """
        sets = [getattr(self, attribute) for attribute in _ARGUMENT_SETS]
        known = set().union(*sets)
        for name in kwargs:
            if name not in known:
                raise ArgumentError(
                    f'{type(self).__name__} takes no argument {name!r}.{did_you_mean(name, known)} '
                    f'Known are {sorted(known)}.'
                )
        first, second, third, fourth = (
            {name: value for name, value in kwargs.items() if name in names} for names in sets
        )
        return first, second, third, fourth

    def _tracked(self, batches: Iterable[Any], number: int, batch_size: int) -> Iterable[Any]:
        if not self.show_progress:
            return batches
        from rich.progress import track

        # A subclass may cut the inputs in another way, so the length may be wrong.
        return track(batches, description='Inference', total=-(-number // max(batch_size, 1)))

    def _in_scope(self) -> Any:
        if self.scope is not None:
            import_scope(self.scope)
        return DefaultScope.overwrite_default_scope(self.scope)

    # Models by name

    @staticmethod
    def list_models(scope: str | None = None, patterns: str = r'.*') -> list[str]:
        """The names and aliases of the models that a package publishes.

        Args:
            scope: The package; by default the package of the current scope.
            patterns: A regular expression that the beginning of a name must match.

        Raises:
            ValueError: If no scope is given.
            ImportError: If the package is not installed.
        """
        package = scope or current_scope_name()
        if package is None:
            raise ArgumentError("Say whose models to list: list_models('mmdet').")
        folder = BaseInferencer._get_repo_or_mim_dir(package)
        expression = re.compile(patterns)
        return [
            name
            for model in BaseInferencer._get_models_from_metafile(folder)
            for name in names_of(model)
            if expression.match(name)
        ]

    def _load_model_from_metafile(self, model: str) -> tuple[Config, str]:
        """Config and weights of a model in the index of the scope's package, by any of its names.

        Raises:
            ValueError: If no scope is given, or it has no model of this name.
            KeyError: If the index has no weights for it.
        """
        if self.scope is None:
            raise ArgumentError(
                f'The config file {model!r} does not exist. If it is the name of a model, pass the '
                "package that has it, as in scope='mmdet'."
            )
        folder = self._get_repo_or_mim_dir(self.scope)
        known: dict[str, dict[str, Any]] = {}
        for entry in self._get_models_from_metafile(folder):
            for name in names_of(entry):
                known.setdefault(name.lower(), entry)
        found = known.get(model.lower())
        if found is None:
            raise ArgumentError(
                f'{self.scope} has no model {model!r}, and such a file does not exist.'
                f'{did_you_mean(model, known)}'
            )
        if not found.get('Weights'):
            raise KeyError(f'The model index of {self.scope} has no Weights for {model!r}.')
        weights = found['Weights']
        cfg = Config.fromfile(os.path.join(folder, found['Config']))
        return cfg, weights if isinstance(weights, str) else weights[0]

    @staticmethod
    def _get_repo_or_mim_dir(scope: str) -> str:
        """The folder with a package's model index and configs.

        An installed package has it inside, as ``.mim``; in a checkout, the package lies in it.

        Raises:
            ImportError: If the package is not installed.
            FileNotFoundError: If it comes without configs.
        """
        package = package_folder(scope)
        for folder in (package / '.mim', package.parent):
            if (folder / 'model-index.yml').is_file():
                return str(folder)
        raise FileNotFoundError(
            f'{scope} has no model index: looked for model-index.yml in {package / ".mim"} and '
            f'{package.parent}.'
        )

    @staticmethod
    def _get_models_from_metafile(dir: str) -> Iterator[dict[str, Any]]:
        """The entries of a model index."""
        return indexed_models(Path(dir))
