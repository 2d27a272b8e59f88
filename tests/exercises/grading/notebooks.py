"""Notebooks as students hand them in: right, wrong, unfinished, broken."""

import inspect
import json
import linecache

from bncourse.exercises import list_exercises
from bncourse.exercises.source import KERNEL_HEADER, solution_source, starter_source


def notebook(*cells, language="python", nbformat=4):
    """The bytes of a notebook with these code cells, each behind a line of Markdown."""
    document = {
        "cells": [
            cell
            for source in cells
            for cell in (
                {"cell_type": "markdown", "metadata": {}, "source": ["A line of text\n", "and another"]},
                {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None},
            )
        ],
        "metadata": {"kernelspec": {"name": language, "display_name": language, "language": language}},
        "nbformat": nbformat,
        "nbformat_minor": 5,
    }
    return json.dumps(document).encode()


def solution(exercise):
    return solution_source(exercise)


def starter(exercise):
    return starter_source(exercise)


def check(exercise, name=None):
    name = name or ", ".join(exercise.function_names)
    return f"from bncourse.exercises import {exercise.id}\n\n{exercise.id}.check({name});"


def completed(*exercises):
    """The cells of an exercise page after somebody solved every exercise on it."""
    return [cell for exercise in exercises or list_exercises() for cell in (solution(exercise), check(exercise))]


def untouched(*exercises):
    """The cells of an exercise page as it is handed out."""
    return [cell for exercise in exercises or list_exercises() for cell in (starter(exercise), check(exercise))]


def mistaken(exercise, function):
    """A page on which the exercise was done with one of the tests' wrong functions, with all that it calls."""
    if exercise.kernels:
        kernels = function if isinstance(function, tuple) else (function,)
        sources = [inspect.getsource(kernel.fn) for kernel in kernels]
        return [KERNEL_HEADER + "\n\n".join(sources), check(exercise, ", ".join(kernel.__name__ for kernel in kernels))]
    filename = function.__code__.co_filename
    is_text = filename.startswith("<cell ")
    source = "".join(linecache.getlines(filename)) if is_text else inspect.getsource(inspect.getmodule(function))
    return [source, check(exercise, function.__name__)]
