"""Values of the domain as JSON text, with the version of their shape.

The text is ``[version, value]``. A change of a dataclass that old text does not fit raises the
version and converts the old text here.
"""

from typing import Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from scheduler.domain.explanation import Explanation, Saving
from scheduler.domain.job import JobSpec
from scheduler.store.errors import StoreError

T = TypeVar("T")
VERSION = 1


class Codec(Generic[T]):
    """One type to text and back, exactly: floats, infinities and times included."""

    def __init__(self, kind: type[T]) -> None:
        self._name = kind.__name__
        self._adapter: TypeAdapter[tuple[int, T]] = TypeAdapter(
            tuple[int, kind],  # type: ignore[valid-type]
            config=ConfigDict(ser_json_inf_nan="constants"),
        )

    def encode(self, value: T) -> str:
        """The text of a value."""
        return self._adapter.dump_json((VERSION, value)).decode()

    def decode(self, text: str) -> T:
        """The value of a text.

        Raises:
            StoreError: the text was written by a newer version, or is damaged.
        """
        version = text.partition(",")[0].removeprefix("[")
        if version != str(VERSION):
            raise StoreError(
                f"a stored {self._name} has shape version {version!r}, this scheduler reads "
                f"version {VERSION}; run the version that wrote it"
            )
        try:
            return self._adapter.validate_json(text)[1]
        except ValidationError as error:
            raise StoreError(f"a stored {self._name} is damaged: {error}") from error


SPEC = Codec(JobSpec)
EXPLANATION = Codec(Explanation)
SAVING = Codec(Saving)
