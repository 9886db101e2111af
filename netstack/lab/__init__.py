"""Laboratories: networks of stacks, kernels and guests."""
