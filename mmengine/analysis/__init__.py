"""How large a model is, and how much it calculates."""

from mmengine.analysis._summary import LayerSummary, ModelSummary, summary
from mmengine.analysis.complexity_analysis import (
    ActivationAnalyzer,
    FlopAnalyzer,
    activation_count,
    flop_count,
    parameter_count,
    parameter_count_table,
)
from mmengine.analysis.print_helper import get_model_complexity_info

__all__ = [
    'ActivationAnalyzer',
    'FlopAnalyzer',
    'LayerSummary',
    'ModelSummary',
    'activation_count',
    'flop_count',
    'get_model_complexity_info',
    'parameter_count',
    'parameter_count_table',
    'summary',
]
