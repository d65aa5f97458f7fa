"""Private names of Runner that subclasses of projects read or assign."""

from __future__ import annotations

from mmengine.strategy._session_views import SessionViews


class NamesOfSubclasses:
    """The API's private attributes of a Runner, as views of the public facts."""

    @property
    def _start(self) -> SessionViews:
        raise NotImplementedError

    @property
    def _experiment_name(self) -> str:
        return self._start.experiment_name

    @property
    def _timestamp(self) -> str:
        return self._start.timestamp

    @property
    def _work_dir(self) -> str:
        return self._start.work_dir

    @property
    def _log_dir(self) -> str:
        return self._start.log_dir

    @property
    def _distributed(self) -> bool:
        return self._start.distributed

    @property
    def _rank(self) -> int:
        return self._start.rank

    @property
    def _world_size(self) -> int:
        return self._start.world_size

    @property
    def _seed(self) -> int:
        """The seed of the run; an own ``set_randomness`` may assign it."""
        return self._start.seed

    @_seed.setter
    def _seed(self, seed: int) -> None:
        self._start.session.seed = seed

    @property
    def _deterministic(self) -> bool:
        return bool(self._start.randomness['deterministic'])

    @_deterministic.setter
    def _deterministic(self, is_deterministic: bool) -> None:
        self._start.randomness['deterministic'] = is_deterministic
