"""What is too long to be read in one sitting is more than one thing."""

from pathlib import Path

from tests.architecture.source import ROOMS, functions_of, python_files, text_of, tree_of

LINES_PER_FILE_MAX = 400
LINES_PER_TEST_FILE_MAX = 600
LINES_PER_FUNCTION_MAX = 50

LONG_FOR_A_REASON = {Path("domain/tables.py"): "the whole schema in one place"}


def test_no_file_is_too_long() -> None:
    found = {
        str(path): lines
        for path in python_files(*ROOMS)
        if (lines := text_of(path).count("\n")) > LINES_PER_FILE_MAX and path not in LONG_FOR_A_REASON
    }
    found |= {
        str(path): lines
        for path in python_files("tests")
        if (lines := text_of(path).count("\n")) > LINES_PER_TEST_FILE_MAX
    }
    assert not found


def test_no_function_is_too_long() -> None:
    found = {
        f"{path}:{function.name}": lines
        for path in python_files(*ROOMS)
        for function in functions_of(tree_of(path))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > LINES_PER_FUNCTION_MAX
    }
    assert not found
