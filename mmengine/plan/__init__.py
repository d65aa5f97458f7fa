"""What a training will need, before a machine is rented: memory, messages and time of its ranks."""

from mmengine.plan._plan import Plan, plan_run

__all__ = ['Plan', 'plan_run']
