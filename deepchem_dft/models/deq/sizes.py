"""A model whose cell and sizes, where not said, are those of its data or of parameters it is given."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepchem.data import Dataset

from deepchem_dft import parallel
from deepchem_dft.errors import CheckpointError
from deepchem_dft.property.inputs import described

if TYPE_CHECKING:
    from deepchem_dft.property.inputs import Kind


class SizesOfData:
    """Part of :class:`~deepchem_dft.models.DEQModel` that builds it again before anything is learned.

    The model has ``_unsaid``, the names of the arguments that were not said, and ``_rebuild``, all arguments.
    """

    _unsaid: set[str]
    _rebuild: dict[str, Any]
    config: dict[str, Any]
    kind: "Kind"
    batch_size: int
    model_dir: str

    def _suit(self, dataset: Dataset) -> None:
        """Build the model again if its cell or sizes were not said and are not those of the data."""
        if not len(dataset):
            return
        found = described(next(dataset.iterbatches(self.batch_size, deterministic=True))[0])
        if "cell" not in self._unsaid and found["cell"] != self.config["cell"]:
            return  # which is refused where the batches are made
        self._rebuild_for(found)

    def _rebuild_for(self, sizes: Mapping[str, Any]) -> None:
        """Build the model again unless what was not said of it is as in ``sizes``; None says nothing."""
        unsaid = {k: v for k, v in sizes.items() if k in self._unsaid and v is not None}
        now = {**self.config, "n_features": self.kind.n_features}
        if all(now[name] == value for name, value in unsaid.items()):
            return
        temporary = vars(self)["model_dir_is_temp"]
        self.__init__(**{**self._rebuild, **unsaid, "model_dir": self.model_dir})  # type: ignore[misc]
        self.__dict__.update(model_dir_is_temp=temporary)
        self._ensure_built()

    def load_from_pretrained(
        self,
        source_model: Any,
        assignment_map: dict | None = None,
        value_map: dict | None = None,
        checkpoint: str | None = None,
        model_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy parameters (see ``Checkpointed``); cell and sizes that were not said are theirs."""
        is_model = isinstance(source_model, SizesOfData)
        self._take_sizes(source_model.config if is_model else checkpoint or model_dir or source_model)
        super().load_from_pretrained(source_model, assignment_map, value_map, checkpoint, model_dir, **kwargs)
        self._unsaid = set()

    def restore(
        self, checkpoint: str | None = None, model_dir: str | None = None, strict: bool = True
    ) -> None:
        """Load a checkpoint (see ``Checkpointed``); cell and sizes that were not said are those of it."""
        self._take_sizes(checkpoint or model_dir or self.model_dir)
        super().restore(checkpoint, model_dir, strict)

    def _take_sizes(self, source: Any) -> None:
        """Build the model again with the cell and sizes of another one, or of a checkpoint, where unsaid."""
        if not self._unsaid:
            return
        if not isinstance(source, Mapping):
            try:
                source = parallel.on_main(lambda: self._read(str(source))[1].get("config"))
            except CheckpointError:
                return  # said where the parameters are read
        if isinstance(source, Mapping):
            self._rebuild_for({name: source.get(name) for name in self._unsaid})
