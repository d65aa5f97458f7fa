model = dict(type='ResNet', depth=50, stages=[3, 4], norm=dict(type='BN', eps=1e-3))
work_dir = 'work_dirs/{{ fileBasenameNoExtension }}'
