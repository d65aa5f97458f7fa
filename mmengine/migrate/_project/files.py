"""The files of a project, by what they are."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.migrate._config.files.tree import KEYS_OF_CONFIGS, is_code, is_hidden, is_other_file

_SKIPPED = {'build', 'dist', 'venv', 'node_modules', 'work_dirs'}
_DATA = ('.json', '.yaml', '.yml')
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class ProjectFiles:
    """The files of a project, hidden ones and results of builds left out.

    Args:
        configs: Config files, parts of configs among them.
        code: Python modules, scripts and notebooks.
        requirements: Lists of packages for pip.
        others: What is copied as it is.
    """

    configs: list[Path] = field(default_factory=list)
    code: list[Path] = field(default_factory=list)
    requirements: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, target: Path) -> ProjectFiles:
        """Look at all files below ``folder``, but for those in ``target``."""
        found = cls()
        for path in sorted(folder.rglob('*')):
            inside = path.relative_to(folder)
            if not path.is_file() or is_hidden(inside) or target in path.parents:
                continue
            if _SKIPPED.intersection(inside.parts):
                continue
            found._list_of(path, inside).append(path)
        return found

    def _list_of(self, path: Path, inside: Path) -> list[Path]:
        if path.suffix == '.py':
            return self.configs if _is_config(path, inside) else self.code
        if path.suffix == '.ipynb':
            return self.code
        if path.suffix in _DATA and not is_other_file(path):
            return self.configs
        is_list = path.suffix == '.txt' and 'requirements' in str(inside)
        return self.requirements if is_list else self.others


def _is_config(path: Path, inside: Path) -> bool:
    """Whether a Python file is a config, or a part of one among configs.

    Only what assigns a key of configs and defines nothing is one: code must not be run.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return 'configs' in inside.parts
    if any(isinstance(one, _DEFINITIONS) for one in tree.body) or is_code(path):
        return False
    names = {
        target.id
        for one in tree.body
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    is_part = 'configs' in inside.parts and path.name != '__init__.py' and bool(names)
    return is_part or bool(names & KEYS_OF_CONFIGS)


def new_requirements(text: str, *, needs_mmcv: bool) -> str:
    """A list of packages with this engine in the place of MMCV 1.x.

    Args:
        text: The list.
        needs_mmcv: Whether code still takes something from MMCV, of which later versions have it.
    """
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if not needs_mmcv and re.match(r'(-f|--find-links)\b.*/mmcv/', line.strip()):
            continue  # where wheels of mmcv-full were found
        if not re.match(r'mmcv(-full)?(?![\w-])', line.strip()):
            lines.append(line)
            continue
        new = ['mmengine'] + (['mmcv>=2.0.0'] if needs_mmcv else [])
        end = '\r\n' if line.endswith('\r\n') else '\n'
        lines += [f'{one}{end}' for one in new if f'{one}{end}' not in lines]
    return ''.join(lines)


_IN_QUOTES = re.compile(r"""(['"])mmcv(?:-full)?(?![\w-])(?!>=2)[^'"\n]*\1(?=\s*[,\])}\n])""")
_ALONE = re.compile(r'(?m)^(\s*(?:install_requires\s*=\s*)?)mmcv(?:-full)?(?![\w-])(?!>=2)[^\n]*$')


def new_setup(text: str, *, needs_mmcv: bool) -> str:
    """``setup.py``, ``setup.cfg`` or ``pyproject.toml`` with this engine in the place of MMCV 1.x.

    Args:
        text: The file.
        needs_mmcv: Whether code still takes something from MMCV, of which later versions have it.
    """
    names = ['mmengine', *(['mmcv>=2.0.0'] if needs_mmcv else [])]

    def quoted(found: re.Match[str]) -> str:
        return ', '.join(f'{found[1]}{name}{found[1]}' for name in names)

    def alone(found: re.Match[str]) -> str:
        indent = found[1] if not found[1].strip() else '    '
        return found[1] + f'\n{indent}'.join(names)

    return _ALONE.sub(alone, _IN_QUOTES.sub(quoted, text))


# The first version that is for this engine, of packages on top of MMCV; none has one of (99,).
_PACKAGES = {
    'mmcls': (1,), 'mmdet': (3,), 'mmdet3d': (1, 1), 'mmsegmentation': (1,), 'mmpose': (1,),
    'mmaction2': (1,), 'mmocr': (1,), 'mmrotate': (1,), 'mmtrack': (1,), 'mmselfsup': (1,),
    'mmrazor': (1,), 'mmedit': (1,), 'mmflow': (1,), 'mmdeploy': (1,), 'mmgen': (99,),
    'mmfewshot': (99,), 'mmhuman3d': (99,),
}  # fmt: skip


def packages_of_mmcv1(text: str) -> list[str]:
    """The lines of a list of packages that ask for a version on top of MMCV 1.x.

    Args:
        text: The list, or a ``setup.py`` and the like, which have some in quotes.
    """
    found = []
    for line in [*text.splitlines(), *re.findall(r"""['"](mm[^'"\n]*)['"]""", text)]:
        asked = re.match(r'\s*(mm\w+)\s*(?:==|<=|<|~=|>=)\s*(\d+(?:\.\d+)*)', line)
        if asked is None or asked[1] not in _PACKAGES:
            continue
        first = (*_PACKAGES[asked[1]], 0, 0)[:3]
        is_below = re.search(r'<\s*(\d+(?:\.\d+)*)', line)
        is_old = '>=' not in line and _version(asked[2]) < first
        if is_old or (is_below is not None and _version(is_below[1]) <= first):
            found.append(line.partition('#')[0].strip())
    return found


def _version(text: str) -> tuple[int, ...]:
    return (*map(int, text.split('.')), 0, 0)[:3]
