class Registry:
    def __init__(self, name):
        self.module_dict = {}

    def register_module(self):
        def registered(kind):
            self.module_dict[kind.__name__] = kind
            return kind

        return registered


def build_from_cfg(config, registry, default_args=None):
    options = {**(default_args or {}), **config}
    return registry.module_dict[options.pop('type')](**options)
