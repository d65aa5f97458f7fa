"""The same trainings under MMCV 1.7.2 and under this engine.

A case is a legacy config and nothing else (``cases``). ``under_mmcv`` trains it with MMCV, ``here``
converts it and trains it with Runner, and both tell what happened in one shape (``watch``).
``record`` writes what MMCV did into ``data/`` beside this package, for tests to compare with; it
runs in an environment that has MMCV, as ``make test-mmcv`` sets one up.
"""
