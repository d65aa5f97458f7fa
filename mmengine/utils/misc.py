"""API path of the helpers of :mod:`mmengine.utils`."""

from mmengine.utils._deprecation import deprecated_api_warning, deprecated_function
from mmengine.utils._introspect import (
    get_object_from_string,
    has_method,
    import_modules_from_strings,
    is_method_overridden,
)
from mmengine.utils._requirements import (
    _check_executable,
    _check_py_package,
    check_prerequisites,
    requires_executable,
    requires_package,
)
from mmengine.utils._sequences import (
    _ntuple,
    apply_to,
    concat_list,
    is_list_of,
    is_seq_of,
    is_str,
    is_tuple_of,
    iter_cast,
    list_cast,
    slice_list,
    to_1tuple,
    to_2tuple,
    to_3tuple,
    to_4tuple,
    to_ntuple,
    tuple_cast,
)

__all__ = [
    '_check_executable',
    '_check_py_package',
    '_ntuple',
    'apply_to',
    'check_prerequisites',
    'concat_list',
    'deprecated_api_warning',
    'deprecated_function',
    'get_object_from_string',
    'has_method',
    'import_modules_from_strings',
    'is_list_of',
    'is_method_overridden',
    'is_seq_of',
    'is_str',
    'is_tuple_of',
    'iter_cast',
    'list_cast',
    'requires_executable',
    'requires_package',
    'slice_list',
    'to_1tuple',
    'to_2tuple',
    'to_3tuple',
    'to_4tuple',
    'to_ntuple',
    'tuple_cast',
]
