"""Measurements that stand in docs/results: a folder for each question, a command for each file.

`python -m benchmarks.FOLDER.FILE --help`, in the root of the repository.
"""
