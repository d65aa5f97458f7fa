"""Convert the files of a project together, and write them with one page about it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmengine.fileio import atomic_write
from mmengine.migrate._code.classes import Classes
from mmengine.migrate._code.convert import Conversion, convert_file, write
from mmengine.migrate._config.migrate import migrate_configs
from mmengine.migrate._config.report.text import Report
from mmengine.migrate._project.files import ProjectFiles, new_requirements, new_setup
from mmengine.migrate._project.steps import StepComparison
from mmengine.utils.errors import ArgumentError

PAGE = 'MIGRATION.md'
_SETUPS = ('setup.cfg', 'pyproject.toml')


@dataclass
class Migration:
    """What became of a project.

    Args:
        source: Its folder.
        target: The folder of the migrated one.
        files: Its files.
        report: Of the configs; None where it has none, or none could be converted.
        code: Of each Python file.
        requirements: Lists of packages that changed.
        others_naming_mmcv: Files that were copied and name MMCV.
        failure: Why no config could be converted, if so.
        steps: One training step of each config under MMCV and here; None if none was taken.
    """

    source: Path
    target: Path
    files: ProjectFiles
    report: Report | None = None
    code: list[Conversion] = field(default_factory=list)
    requirements: list[Path] = field(default_factory=list)
    others_naming_mmcv: list[Path] = field(default_factory=list)
    failure: str = ''
    steps: list[StepComparison] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        has_marks = any(one.todo or one.error for one in self.code)
        is_done = self.report is None or self.report.is_complete
        is_different = any(one.reason and one.difference is not None for one in self.steps or ())
        is_left = has_marks or is_different or self.others_naming_mmcv or self.failure
        return is_done and not is_left


def migrate_project(
    source: Path, target: Path, *, rules: Iterable[str] = ('auto',), force: bool = False
) -> Migration:
    """Convert a project into another folder; the source is never changed.

    Args:
        source: Its folder.
        target: A folder that is not there, or empty.
        rules: Vocabularies for the configs.
        force: Write into a folder that has files.

    Raises:
        ArgumentError: If there is no such folder, or the target has files.
    """
    source, target = Path(os.path.abspath(source)), Path(os.path.abspath(target))
    if not source.is_dir():
        raise ArgumentError(f'there is no folder {str(source)!r}.')
    if source == target:
        raise ArgumentError('the source and the target are one folder.')
    if target.is_dir() and any(target.iterdir()) and not force:
        raise ArgumentError(f'{target} has files already; --force writes over them.')
    files = ProjectFiles.of(source, target)
    if not files.code and not files.configs:
        raise ArgumentError(f'{source} holds no Python files and no configs.')
    migration = Migration(source, target, files)
    target.mkdir(parents=True, exist_ok=True)
    classes = classes_of_project(files)
    _migrate_configs(migration, list(rules), force, classes)
    _migrate_code(migration, classes)
    _migrate_requirements(migration)
    for path in files.others:
        # The page of an earlier migration is written anew.
        if path.relative_to(source) != Path(PAGE):
            place = _place(migration, path)
            if path not in migration.requirements:
                _copy(path, place)
            if _names_mmcv(place):
                migration.others_naming_mmcv.append(path)
    return migration


def classes_of_project(files: ProjectFiles) -> Classes:
    """The classes of a project, and what its configs tell about how they are used."""
    classes = Classes.of_files(files.code, is_project=True)
    texts = [path.read_text('utf-8', errors='replace') for path in (*files.code, *files.configs)]
    return replace(
        classes,
        runs_iterations=any(_ITERATIONS.search(one) for one in texts),
        validates=any(_VALIDATION.search(one) for one in texts),
        scales_losses=any(_SCALES.search(one) for one in texts),
        used=frozenset(classes.by_name) & _words_used(texts),
    )


def _words_used(texts: Iterable[str]) -> frozenset[str]:
    """The words of code and configs, but for definitions of classes and imports."""
    lines = (re.sub(r'(?m)^\s*(class \w+|from|import)\b.*', '', text) for text in texts)
    return frozenset(word for text in lines for word in re.findall(r'\b[^\W\d]\w*', text))


# By any word that a project needs for it; a config may leave it out, and so may a script.
_VALIDATION = re.compile(
    r"""\b(evaluat\w*|\w*EvalHook|single_gpu_test|multi_gpu_test|test_dataloader|val_dataloader)\b
    |\b(val|test)\s*=\s*dict|['"](val|test)['"]|\.eval\(\)""",
    re.VERBOSE,
)
_SCALES = re.compile(r'(?i)fp16|cumulative_iters|update_interval|loss_?scale|gradscaler|autocast')
_ITERATIONS = re.compile(r'\bIterBasedRunner\b|\btotal_iters\b|\bmax_iters\b')


def _migrate_configs(migration: Migration, rules: list[str], force: bool, classes: Classes) -> None:
    configs = migration.files.configs
    if not configs:
        return
    try:
        migration.report = migrate_configs(
            migration.source,
            migration.target,
            rules=rules,
            check=True,
            force=force,
            only=configs,
            own={name: classes.hook_facts(name) for name in classes.by_name},
        )
    except ArgumentError as error:
        migration.failure = str(error)


def _migrate_code(migration: Migration, classes: Classes) -> None:
    for path in migration.files.code:
        conversion = convert_file(path, classes)
        place = _place(migration, path)
        if path.name == 'setup.py' and not conversion.error:
            new = new_setup(conversion.new, needs_mmcv=_needs_mmcv(migration))
            if new != conversion.new:
                migration.requirements.append(path)
                conversion = replace(conversion, new=new)
        if conversion.error or conversion.new == conversion.old:
            _copy(path, place)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            write(replace(conversion, path=place))
            shutil.copymode(path, place)
        if path.suffix == '.ipynb' and _names_mmcv(place):
            migration.others_naming_mmcv.append(path)
        migration.code.append(conversion)


def _needs_mmcv(migration: Migration) -> bool:
    """Whether code still takes something from MMCV."""
    return any(re.search(r'(?m)^\s*(import|from) mmcv\b', one.new) for one in migration.code)


def _migrate_requirements(migration: Migration) -> None:
    needs_mmcv = _needs_mmcv(migration)
    setups = [path for path in migration.files.others if path.name in _SETUPS]
    for path in [*migration.files.requirements, *setups]:
        place = _place(migration, path)
        try:
            old = path.read_text('utf-8')
        except UnicodeDecodeError:
            _copy(path, place)
            continue
        rewritten = new_setup if path in setups else new_requirements
        new = rewritten(old, needs_mmcv=needs_mmcv)
        if new == old:
            _copy(path, place)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(str(place)) as stream:
            stream.write(new.encode())
        migration.requirements.append(path)


def _place(migration: Migration, path: Path) -> Path:
    return migration.target / path.relative_to(migration.source)


def _copy(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)


def _names_mmcv(path: Path) -> bool:
    """Whether a file that installs or starts things names MMCV."""
    if path.suffix == '.ipynb':
        return re.search(rb'\b(from|import|install [^"]*) ?mmcv\b', path.read_bytes()) is not None
    is_told = path.suffix in ('.cfg', '.toml', '.sh') or path.name == 'Dockerfile'
    return is_told and re.search(rb'mmcv(?!>=2)', path.read_bytes()) is not None
