"""What a run writes while it goes: metrics.jsonl, samples.jsonl, summary.json and TensorBoard events; and how to read
them back.

metrics.jsonl holds one JSON object per line, told apart by `kind`: "step", "eval" or "note". A number that was not
finite is written as null, so that every JSON reader accepts the file; a number that was not measured is absent.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from acejax import host
from acejax.errors import UserError
from acejax.files import write_whole

METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
SUMMARY = "summary.json"
TENSORBOARD = "tensorboard"
PLACE_FIELDS = ("step", "stage_step", "stage_steps", "time", "k", "problems")


class Records:
    """Appends records to the files of one run folder, which is made if absent.

    A last line torn by a kill is cut off on opening, so that the next record starts on a line of its own.
    """

    def __init__(self, folder: Path, tensorboard: bool = True) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in (METRICS, SAMPLES):
            _mend_tail(folder / name)
        self._tensorboard = tensorboard
        self._purge_step: int | None = None
        self._events: Any = None
        self._open()

    def _open(self) -> None:
        self._metrics = (self.folder / METRICS).open("a", encoding="utf-8")
        self._samples = (self.folder / SAMPLES).open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record to metrics.jsonl; its numbers also go to TensorBoard, at the record's global `step`."""
        if not host.is_writer():
            return
        plain = _json_value(record)
        _append(self._metrics, [plain])
        if self._tensorboard and plain.get("kind") in ("step", "eval"):
            self._scalars(plain)

    def samples(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Appends responses with their verdicts to samples.jsonl."""
        if host.is_writer():
            _append(self._samples, [_json_value(record) for record in records])

    def position(self) -> dict[str, int]:
        """Bytes that each file holds by now, all of them on the disk: a checkpoint says with them where it stood."""
        sizes = {}
        for name, file in ((METRICS, self._metrics), (SAMPLES, self._samples)):
            file.flush()
            os.fsync(file.fileno())
            sizes[name] = os.fstat(file.fileno()).st_size
        return sizes

    def go_back_to(self, position: Mapping[str, int], step: int) -> None:
        """Forgets what was written after a checkpoint, which stood at `position` and at global step `step`."""
        self.close()
        for name in (METRICS, SAMPLES):
            kept = position.get(name, 0)
            if (self.folder / name).stat().st_size > kept:
                os.truncate(self.folder / name, kept)
        self._purge_step = step + 1
        self._open()

    def close(self) -> None:
        self._metrics.close()
        self._samples.close()
        if self._events is not None:
            self._events.close()
            self._events = None

    def _scalars(self, record: Mapping[str, Any]) -> None:
        if self._events is None:
            self._events = _event_writer(self.folder / TENSORBOARD, self._purge_step)
        if record["kind"] == "eval":
            prefix = f"eval/{record.get('domain')}/{record.get('split')}"
        else:
            prefix = str(record.get("stage_kind") or "train")
        for name, value in record.items():
            if name not in PLACE_FIELDS and isinstance(value, (int, float)) and not isinstance(value, bool):
                self._events.add_scalar(f"{prefix}/{name}", value, record.get("step"), record.get("time"))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All records of metrics.jsonl in order; none if the file is absent. See `read_lines` for torn and broken lines."""
    return list(read_lines(folder / METRICS))


def read_samples(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of samples.jsonl in order, one at a time: the file of a long run does not fit in memory."""
    return read_lines(folder / SAMPLES)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON objects of a file, one a line. A last line still being written is left out.

    Raises UserError, naming file and line, for a broken line anywhere else.
    """
    if not path.exists():
        return
    broken: int | None = None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            if broken is not None:
                raise UserError(
                    f"{path}:{broken}: not a JSON object; delete that line, or restore the file from a copy"
                )
            record = _parse(line)
            if record is None:
                broken = number
            else:
                yield record


def write_summary(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Writes summary.json: a list of measurements, those of stage "start" first and those of stage "end" last."""
    text = json.dumps([_json_value(entry) for entry in entries], indent=1, allow_nan=False)
    if host.is_writer():
        write_whole(folder / SUMMARY, text + "\n")


def read_summary(folder: Path) -> list[dict[str, Any]]:
    """The entries of summary.json; none if it is absent or not yet whole."""
    path = folder / SUMMARY
    with suppress(FileNotFoundError, ValueError):
        entries = json.loads(path.read_bytes())
        if isinstance(entries, list):
            return [entry for entry in entries if isinstance(entry, dict)]
    return []


def _json_value(value: Any) -> Any:
    """The value as JSON can hold it: array scalars become Python numbers, numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if hasattr(value, "tolist"):
        return _json_value(value.tolist())
    return str(value)


def _append(file: Any, records: Sequence[Mapping[str, Any]]) -> None:
    if records:
        file.write("".join(json.dumps(record, allow_nan=False) + "\n" for record in records))
        file.flush()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _mend_tail(path: Path) -> None:
    """Cuts a torn last line off, or ends a whole one that lacks its newline. Reads back only as far as that line
    reaches.
    """
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = position = file.seek(0, os.SEEK_END)
        tail = b""
        while position and b"\n" not in tail:
            position = max(0, position - 65536)
            file.seek(position)
            tail = file.read(end - position)
        last = tail[tail.rfind(b"\n") + 1 :]
        if not last:
            return
        if _parse(last) is None:
            file.truncate(end - len(last))
        else:
            file.seek(end)
            file.write(b"\n")


def _event_writer(folder: Path, purge_step: int | None) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(
            "tensorboardX is not installed; run `pip install tensorboardX`, or turn TensorBoard off in the config"
        ) from error
    # With purge_step TensorBoard hides what an earlier process logged at that step and after.
    # The suffix keeps its file apart from the earlier one's: names carry whole seconds only, and an equal name is
    # overwritten.
    suffix = "" if purge_step is None else f".from{purge_step}"
    return SummaryWriter(str(folder), purge_step=purge_step, filename_suffix=suffix)
