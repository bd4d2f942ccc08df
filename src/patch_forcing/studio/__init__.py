"""A local page: sample, watch time and difficulty, paint what may change, compare samplers.

`page` alone knows Gradio. What it shows and does are functions over a `Pipeline`, in the others.
"""
