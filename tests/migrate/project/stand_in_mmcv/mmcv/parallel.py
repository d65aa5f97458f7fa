from torch.utils.data import default_collate


def collate(samples, samples_per_gpu):
    return default_collate(samples)
