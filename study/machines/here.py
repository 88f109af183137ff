"""This process as the one machine of a study."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from study.common.bases import BaseChoice
from study.data.pixels.deep_grey import Scales
from study.features.backbone import Backbone, load_backbone
from study.features.device import Device, pick_device
from study.features.extract import RowsOf, computed_rows
from study.machines.machines import Machines, TrainerOrder
from study.space.head_config import HeadConfig
from study.training.places import Trainer
from study.training.population import LocalTrainer, heads_at_once
from study.training.program_key import ProgramShape, Signature
from study.training.programs import Programs, compiled_ahead
from study.training.rounding import rounding_digest


class Here(Machines):
    """The `Machines` that is this process; see `pick_device` for its device."""

    def __init__(self, device: str | None) -> None:
        self._device, self._asked = pick_device(device), device
        self._programs: Programs | None = None  # of `ahead`

    @property
    def device(self) -> Device:
        """The GPU or CPU of this process."""
        return self._device

    @property
    def rounding(self) -> str:
        """The `rounding_digest` of this process."""
        return rounding_digest()

    def backbone(self, base: BaseChoice) -> Backbone:
        """Return the frozen base."""
        return load_backbone(**base._asdict(), device=self._asked)

    def rows_of(self, base: BaseChoice, backbone: Backbone, scales: Scales) -> RowsOf:
        """Return a function that computes the rows of images."""
        return partial(computed_rows, backbone=backbone, scales=scales)

    @contextmanager
    def ahead(
        self, shape: ProgramShape | None, wanted: Sequence[tuple[Signature, HeadConfig]]
    ) -> Iterator[None]:
        """Compile programs in a thread; see `compiled_ahead`."""
        if shape is None:  # a GPU is timed first
            yield
            return
        self._programs = Programs(shape)
        with compiled_ahead(self._programs, wanted):
            yield

    def trainer(self, order: TrainerOrder) -> Trainer:
        """Return a trainer in this process."""
        table, rules, space, first, size = order
        if size is None:
            size = heads_at_once(partial(LocalTrainer, table, rules), space, *first)
        return LocalTrainer(table, rules, size, self._programs)
