"""Stage 1: the library of pruned models, made once per trained model."""
