"""What projects of many kinds have in their code: converted, or marked where it cannot be."""

import textwrap

import pytest

convert = pytest.importorskip('mmengine.migrate._code.convert')


def _new(text: str) -> str:
    conversion = convert.convert_source(textwrap.dedent(text))
    assert not conversion.error
    assert convert.convert_source(conversion.new).new == conversion.new
    return conversion.new


FUNCTION = """
    from leaves import LeafEvalHook
    from mmcv.parallel import MMDataParallel, MMDistributedDataParallel
    from mmcv.runner import HOOKS, DistSamplerSeedHook, Fp16OptimizerHook, OptimizerHook
    from mmcv.runner import build_optimizer, build_runner
    from mmcv.utils import build_from_cfg


    def train(model, loaders, cfg, distributed, validate):
        if distributed:
            model = MMDistributedDataParallel(model.cuda(), device_ids=[0])
        else:
            model = MMDataParallel(model, device_ids=[0])
        optimizer = build_optimizer(model, cfg.optimizer)
        runner = build_runner(cfg.runner, default_args=dict(model=model, optimizer=optimizer))
        fp16_cfg = cfg.get('fp16', None)
        if fp16_cfg is not None:
            optimizer_config = Fp16OptimizerHook(**cfg.optimizer_config, **fp16_cfg)
        elif distributed and 'type' not in cfg.optimizer_config:
            optimizer_config = OptimizerHook(**cfg.optimizer_config)
        else:
            optimizer_config = cfg.optimizer_config
        runner.register_training_hooks(cfg.lr_config, optimizer_config, cfg.checkpoint_config,
                                       cfg.log_config)
        if distributed:
            runner.register_hook(DistSamplerSeedHook())
        if validate:
            by_epoch = cfg.runner['type'] != 'IterBasedRunner'
            runner.register_hook(LeafEvalHook(loaders[1], by_epoch=by_epoch), priority='LOW')
        for hook_cfg in cfg.custom_hooks:
            runner.register_hook(build_from_cfg(hook_cfg, HOOKS))
        # Go.
        runner.run(loaders, cfg.workflow)
"""


def test_blocks_that_register_hooks_stay_behind_the_runner_that_is_told_by_the_config():
    new = _new(FUNCTION)
    assert 'Parallel' not in new
    assert 'OptimizerHook' not in new
    made, _, after = new.partition('runner = Runner(')
    assert 'TODO(mmengine migrate): validation: give val_dataloader' in made
    assert "launcher='pytorch' if distributed else 'none'" in after
    assert "log_processor=cfg.get('log_processor')" in after
    assert "visualizer=cfg.get('visualizer')" in after
    assert after.count('runner.register_hook(') == 3
    assert after.rstrip().endswith('# Go.\n    runner.train()')


def test_a_config_that_a_function_is_given_is_known_by_what_only_configs_have():
    new = _new(
        """
        from mmcv.utils import print_log

        def train(settings):
            print_log(settings.lr_config)
            return settings.data.train, settings.data.samples_per_gpu
        """
    )
    assert 'settings.train_dataloader.dataset, settings.train_dataloader.batch_size' in new
    assert 'TODO(mmengine migrate): param_scheduler takes the place of lr_config' in new


@pytest.mark.parametrize('reading', ["cfg.get('fp16', None)", 'cfg.resume_from', 'cfg.workflow'])
def test_an_entry_that_no_migrated_config_has_is_marked(reading):
    new = _new(f'from mmcv import Config\ncfg = Config.fromfile("a.py")\nx = {reading}\n')
    assert 'takes the place of' in new


def test_optimizers_by_name_in_a_config_are_marked():
    read = "from mmcv import Config\ncfg = Config.fromfile('a.py')\n"
    new = _new(f'{read}names = list(cfg.optimizer.items())\n')
    assert 'TODO(mmengine migrate): optim_wrapper holds several by name' in new


def test_what_else_is_done_with_a_runner_is_quoted():
    new = _new(
        """
        from mmcv.runner import EpochBasedRunner

        def main(model, loader):
            runner = EpochBasedRunner(model, max_epochs=2)
            # an odd thing
            look_at(runner)
            runner.run([loader], [('train', 1)])
        """
    )
    assert 'where Runner gets everything at once: look_at(runner)' in new


def test_the_length_of_a_run_may_come_with_run_by_place():
    new = _new(
        """
        from mmcv.parallel import MMDataParallel
        from mmcv.runner import IterBasedRunner
        runner = IterBasedRunner(MMDataParallel(model, device_ids=[0]), optimizer=sgd)
        # %%
        runner.run([loader], [('train', 1)], 70)
        """
    )
    assert 'train_cfg=dict(by_epoch=False, max_iters=70)' in new
    assert 'log_processor=dict(by_epoch=False)' in new
    assert 'model=model,' in new
    assert '# %%\nrunner.train()' in new
    assert 'TODO' not in new


HOOK = """
    from mmcv.parallel import is_module_wrapper
    from mmcv.runner import Hook

    class Saving(Hook):
        def after_train_iter(self, runner):
            self.fake = runner.outputs['results']['fake']
            runner.logger.info(f'{runner.current_lr()} of {runner.model.module.name}')

        def after_run(self, runner):
            model = runner.model
            self.model = runner.model.module if is_module_wrapper(runner.model) else runner.model
"""


def test_a_hook_reaches_the_model_whether_it_is_wrapped_or_not():
    new = _new(HOOK)
    assert '{getattr(runner.model, "module", runner.model).name}' in new
    assert 'runner.model.module if is_module_wrapper(runner.model)' in new


def test_quotes_in_an_f_string_are_others_than_its_own():
    new = _new(HOOK)
    assert """f'{runner.optim_wrapper.get_lr()["lr"]} of""" in new
    assert 'could not be converted' not in new


def test_outputs_that_are_not_logged_are_marked_in_hook_and_model():
    assert "outputs['results']: outputs is what train_step returns" in _new(HOOK)
    new = _new(
        """
        from mmcv.runner import BaseModule

        class Model(BaseModule):
            def train_step(self, data, optimizer):
                loss = self(**data)
                outputs = dict(loss=loss, log_vars={}, num_samples=1, results=data)
                return outputs

            def forward(self, x, mode='loss'):
                return x
        """
    )
    assert 'TODO(mmengine migrate): results: only what is logged is returned here' in new


def test_a_val_step_that_computed_losses_gives_way_to_predictions():
    new = _new(
        """
        from mmcv.runner import BaseModule

        class Model(BaseModule):
            def forward(self, x, return_loss=True):
                return x.sum() if return_loss else [x]

            def train_step(self, data, optimizer):
                loss = self(**data)
                return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=1)

            def val_step(self, data, optimizer=None):
                loss = self(**data)
                return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=1)
        """
    )
    assert 'def val_step' not in new
    assert "TODO(mmengine migrate): val_step computed losses for workflow ('val', n)" in new


def test_the_init_of_an_optimizer_hook_may_name_its_base():
    new = _new(
        """
        from mmcv.runner import OptimizerHook

        class Skipping(OptimizerHook):
            def __init__(self, most=10.0, grad_clip=None, **kwargs):
                OptimizerHook.__init__(self, grad_clip=grad_clip, **kwargs)
                self.most = most
        """
    )
    assert 'super().__init__(optimizer, accumulative_counts=accumulative_counts, clip_g' in new
    assert 'kwargs' not in new
    assert 'mmcv' not in new


def test_a_module_that_was_imported_from_a_package_goes_once_nothing_uses_it():
    new = _new('from mmcv.runner import hooks as H\n\nclass A(H.Hook):\n    pass\n')
    assert 'mmcv' not in new
    assert 'class A(Hook)' in new


def test_hooks_of_the_config_and_of_the_script_come_together():
    new = _new(
        """
        from mmcv import Config
        from mmcv.runner import EpochBasedRunner, build_optimizer
        cfg = Config.fromfile('a.py')
        runner = EpochBasedRunner(model, optimizer=build_optimizer(model, cfg.optimizer),
                                  max_epochs=cfg.total_epochs)
        runner.register_lr_hook(cfg.lr_config)
        runner.register_hook(Mine())
        runner.run([loader], [('train', 1)])
        """
    )
    assert "custom_hooks=[*(cfg.get('custom_hooks') or []), Mine()]" in new


@pytest.mark.parametrize('reading', ['cfg.optimizer_config', "cfg.get('optimizer_config')"])
def test_an_optimizer_hook_that_is_chosen_elsewhere_is_not_forgotten(reading):
    new = _new(
        f"""
        from mmcv.runner import EpochBasedRunner, Fp16OptimizerHook

        def main(model, sgd, loader, fp16):
            optimizer_config = dict(grad_clip=dict(max_norm=1))
            if fp16:
                optimizer_config = Fp16OptimizerHook(**fp16)
            runner = EpochBasedRunner(model, optimizer=sgd, max_epochs=2)
            runner.register_training_hooks(None, {reading})
            runner.run([loader], [('train', 1)])
        """
    )
    assert 'Fp16OptimizerHook(**fp16)' in new
    assert f'{reading}: clipping, accumulation and mixed precision are' in new
    assert 'optim_wrapper=OptimWrapper(sgd)' in new
