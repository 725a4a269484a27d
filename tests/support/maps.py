"""A stand-in for StableBTreeMap on the host: same methods, same size limits, kept in a dict."""

import ast
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class FakeMap:
    """Holds what a stable map would, and refuses what a stable map would refuse."""

    def __init__(self, max_key_bytes: int, max_value_bytes: int):
        self.entries: dict[Any, Any] = {}
        self._max_key_bytes = max_key_bytes
        self._max_value_bytes = max_value_bytes
        self.writes = 0

    def contains_key(self, key: Any) -> bool:
        return key in self.entries

    def get(self, key: Any) -> Any:
        return self.entries.get(key)

    def insert(self, key: Any, value: Any) -> Any:
        assert framed_size(key) <= self._max_key_bytes, f"key of {framed_size(key)} bytes"
        assert framed_size(value) <= self._max_value_bytes, f"value of {framed_size(value)} bytes"
        self.writes += 1
        former = self.entries.get(key)
        self.entries[key] = bytes(value)
        return former

    def is_empty(self) -> bool:
        return not self.entries

    def items(self) -> list[tuple[Any, Any]]:
        return sorted(self.entries.items())

    def keys(self) -> list[Any]:
        return sorted(self.entries)

    def len(self) -> int:
        return len(self.entries)

    def remove(self, key: Any) -> Any:
        return self.entries.pop(key, None)

    def values(self) -> list[Any]:
        return [value for _, value in self.items()]


def framed_size(value: Any) -> int:
    """Bytes of a value in Candid as Kybra's maps count them."""
    if isinstance(value, int):
        return 11
    raw = value.encode() if isinstance(value, str) else bytes(value)
    prefix = 1 if len(raw) < 128 else 2 if len(raw) < 16_384 else 3
    return len(raw) + prefix + (7 if isinstance(value, str) else 9)


def maps_of(package: str) -> Any:
    """Empty stand-ins for all maps that `package.state` declares, by name, each with its declared sizes."""
    source = Path(str(files(package))) / "state.py"
    maps = SimpleNamespace()
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            sizes = {word.arg: ast.literal_eval(word.value) for word in node.value.keywords}
            setattr(maps, node.targets[0].id, FakeMap(sizes["max_key_size"], sizes["max_value_size"]))
    return maps
