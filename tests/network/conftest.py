"""One torch thread: the models here are tiny, and on a busy machine torch's threads wait for each other most of the time."""

import torch

torch.set_num_threads(1)
