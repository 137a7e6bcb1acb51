"""YAML in the files that operators write."""

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """The safe one, but what looks like a date stays text: a day that does not exist is then
    refused by the key that takes it, by its name."""


_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


def parsed(text: str) -> Any:
    """What a file holds.

    Raises:
        ValueError: it is not YAML, or has a value that cannot be one of its kind.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
