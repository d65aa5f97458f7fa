"""Whole trainings in few lines: a classifier, a GAN, a language model."""
