"""Draws of per-patch times, and how far they are from a law."""

import math

import torch
from scipy import stats

IMAGES = 10_000


def draw(sampler, images, patches, seed=0):
    """Times (images, patches), fp64."""
    generator = torch.Generator().manual_seed(seed)
    return sampler(images, patches, generator=generator).to_dense().double().numpy()


def p_value(sample, cdf):
    return stats.kstest(sample, cdf).pvalue


def z_of_mean(samples, mean=0.0):
    """How many standard errors the sample's mean is off."""
    return abs(samples.mean() - mean) / (samples.std(ddof=1) / math.sqrt(len(samples)))
